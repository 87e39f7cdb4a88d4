"""What rules hold and what they cost: counted right, and no more than autodiff's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import verify
from funcnn.verify.functions._split import cast
from funcnn.verify.measures._costs import cost_table, costs, measure
from funcnn.verify.measures._residuals import residuals

X = np.arange(1, 7, dtype=np.float32).reshape(2, 3)
OPS = {op.name: op for op in verify.discover()}


def kinds(f, *args):
    """What is held, as sorted text."""
    return sorted(map(str, residuals(f, *args).arrays))


# --- counting -------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit])
@pytest.mark.parametrize(
    "f, held",
    [
        (lambda x: -x, []),
        (jnp.sin, ["computed"]),
        (jnp.exp, ["output"]),
        (lambda x: x * x, ["argument x"]),
        (lambda x: x.reshape(3, 2) * x.T, ["argument x", "computed"]),  # transposed
        (lambda x: x.reshape(6) * x.ravel()[None], ["argument x"]),
        (lambda x: jnp.sin(x) * jnp.cos(x), ["computed", "computed"]),
        (
            lambda x: jnp.sin(x).sum() - jnp.sin(x.ravel().reshape(2, 3)).sum(),
            ["computed"],
        ),
        (jax.checkpoint(lambda x: jnp.sin(jnp.sin(x))), ["argument x"]),
        (lambda x: x * jnp.arange(3, dtype=x.dtype), ["constant"]),
        (jax.jit(lambda x: jax.jit(lambda x: x * x)(x) * 2), ["argument x"]),
        (lambda x: (jnp.sin(x), jnp.argmax(x)), ["computed"]),
    ],
)
def test_what_is_held(f, held, wrap):
    named = wrap(lambda x: f(x))
    assert kinds(named, X) == held


def test_bytes():
    found = residuals(lambda w, x: (jnp.exp(x) @ w["a"], jnp.sin(x)), {"a": X.T}, X)
    assert (found.arguments, found.outputs, found.computed) == (24, 0, 48)
    assert found.total == 72
    assert residuals(lambda x: jnp.sin(x.astype(jnp.bfloat16)), X).total == 12
    sign = residuals(lambda x: jnp.where(x > 0, x, 2 * x), X)
    assert [a.dtype for a in sign.arrays if a.kind == "computed"] == [jnp.bool_]
    assert sign.computed == 6


def test_arguments_go_by_their_names():
    def f(key, params, x, n=0):
        del n
        noise = jax.random.normal(key, x.shape, x.dtype)
        return x @ params["w"][0] * params["b"] * (noise @ params["w"][0])

    found = kinds(f, jax.random.key(0), {"w": [X.T], "b": X[0, 0]}, X, 3)
    assert found.count("computed") == len(found) - 3
    assert {"argument params['w'][0]", "argument params['b']", "argument x"} <= {*found}


def test_what_is_never_read():
    def rule(held):
        f = jax.custom_vjp(lambda x, b: x + b)
        f.defvjp(lambda x, b: (x + b, held(x, b)), lambda _, dy: (dy, dy))
        return f

    argument = residuals(rule(lambda x, b: b), X, X)
    assert list(map(str, argument.arrays)) == ["argument b, never read"]
    assert argument.total == 0  # the caller has it in any case
    computed = residuals(rule(lambda x, b: x - b), X, X)
    assert list(map(str, computed.arrays)) == ["computed, never read"]
    assert computed.total == 24


def test_no_array_is_needed():
    large = jax.ShapeDtypeStruct((1 << 20, 1 << 20), jnp.float32)
    assert residuals(jnp.sin, large).total == 4 << 40


def test_residuals_print_as_a_table():
    lines = str(residuals(lambda x: jnp.exp(x) * x, X)).splitlines()
    assert sorted(lines[:2]) == [
        "float32[2,3]           24 B  argument x",
        "float32[2,3]           24 B  computed",
    ]
    assert lines[2:] == [
        "total                  48 B  arguments 24 B, outputs 0 B, computed 24 B",
    ]


# --- ops against autodiff -------------------------------------------------------------

# Ops that hold an argument or the output, which something else mostly keeps alive anyway,
# where autodiff computes something smaller to hold. In what is computed none is worse.
ALLOWED = {
    "attention": "the output and two numbers a row, rather than scores of a few keys",
    "relu": "the output, which the next layer holds, rather than a mask",
    "leaky_relu": "x rather than a mask",
    "mse": "prediction and target rather than their difference",
    "conv": "x, where the reference gathers the few elements that are read at all",
    "conv_transpose": "x and weight, where an empty batch needs neither",
    "batch_norm": "three float32 a channel, more than a bfloat16 batch of one row",
    "linear_softmax_cross_entropy": "two float32 a row, and the bias, for the logits again",
}


@functools.cache
def cases(name):
    """An op's cases."""
    with jax.enable_x64(True):
        return OPS[name].cases(np.random.default_rng(0))


@functools.cache
def held(name, dtype, case):
    """What the rule holds, and autodiff of the op and of its reference."""
    op = OPS[name]
    with (
        jax.enable_x64(False),
        jax.numpy_dtype_promotion("standard"),
        np.errstate(over="ignore"),
    ):
        judged = (op.apply, verify.autodiff(op.apply), op.reference)
        return [residuals(f, *cast(cases(name)[case], dtype)) for f in judged]


@pytest.mark.parametrize(
    "dtype", [jnp.float32, pytest.param(jnp.bfloat16, marks=pytest.mark.exhaustive)]
)
@pytest.mark.parametrize("name", OPS)
def test_a_rule_holds_no_more_than_autodiff(name, dtype):
    for case in cases(name):
        mine, *others = held(name, dtype, case)
        for other in others:
            assert mine.computed <= other.computed, (case, mine, other)
            assert mine.total <= other.total or name in ALLOWED, (case, mine, other)


def test_each_allowance_is_needed():
    for name in ALLOWED:
        found = (held(name, d, c) for d in (jnp.float32, jnp.bfloat16) for c in cases(name))
        assert any(mine.total > min(a.total, b.total) for mine, a, b in found), name


def test_a_wasteful_rule_is_caught():
    @functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
    def keeps_its_mask(key, x, rate):
        return fwd(key, x, rate)[0]

    def fwd(key, x, rate):
        scale = jax.random.bernoulli(key, 1 - rate, x.shape).astype(x.dtype) / (1 - rate)
        return x * scale, scale

    keeps_its_mask.defvjp(fwd, lambda rate, scale, dy: (None, scale * dy))
    found = residuals(keeps_its_mask, jax.random.key(0), X, 0.5)
    plain = residuals(verify.autodiff(OPS["dropout"].apply), jax.random.key(0), X, 0.5)
    assert found.computed == 24 > plain.computed == 6


# What the ops' derivations say: a case, the arguments (or output) held and read, and the
# bytes of what is computed, the same in float32 and bfloat16.
CLAIMED = {
    # two numbers a row
    "attention": ("cross", "k output q v", 2 * 2 * 3 * 2 * 4),
    "avg_pool": ("2x2", "", 0),
    "batch_norm": ("rows", "scale x", 3 * 4 * 4),  # three float32 a channel
    "col2im": ("3x3", "", 0),
    "conv": ("3x3", "weight x", 0),
    "conv_transpose": ("3x3", "weight x", 0),
    "cross_entropy": ("probabilities", "labels probs", 0),
    "dense": ("batch", "weight x", 0),
    "dot": ("matrices", "a b", 0),
    "dropout": ("a half", "constant key", 0),
    "elu": ("matrix", "x", 0),
    "geglu": ("tanh", "gate value", 0),
    "embed": ("sequence", "ids", 0),
    "gelu": ("tanh", "x", 0),
    "im2col": ("3x3", "", 0),
    # one float32 a channel and image, two a group and image
    "group_norm": ("two groups", "scale x", (4 + 2 * 2) * 2 * 4),
    "layer_norm": ("batch", "scale x", 3 * 3 * 4),  # three float32 a row
    "leaky_relu": ("matrix", "x", 0),
    # two float32 a row
    "linear_softmax_cross_entropy": ("no bias", "labels weight x", 4 * 2 * 4),
    "log_softmax": ("matrix", "output", 0),
    "matmul": ("batch", "a b", 0),
    # a byte for each axis and element, the last axis first
    "max_pool": ("overlapping, SAME", "", 2 * 5 * 3 * 3 + 2 * 3 * 3 * 3),
    "mse": ("matrix", "prediction target", 0),
    "relu": ("matrix", "output", 0),
    "rms_norm": ("batch", "scale x", 3 * 4),  # a float32 a row
    "rope": ("positions", "positions", 0),
    "sigmoid": ("matrix", "output", 0),
    "silu": ("matrix", "x", 0),
    "softmax": ("matrix", "output", 0),
    "softmax_cross_entropy": ("probabilities", "labels logits", 3 * 2 * 4),
    "softplus": ("matrix", "x", 0),
    "swiglu": ("matrix", "gate value", 0),
    "tanh": ("matrix", "output", 0),
    "tensordot": ("two axes", "a b", 0),
}


# Those that keep x rather than the output in 16 bits.
OF_INPUT = {"sigmoid", "tanh", "softmax", "log_softmax"}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", CLAIMED)
def test_a_rule_holds_what_its_derivation_says(name, dtype):
    case, names, nbytes = CLAIMED[name]
    if dtype == jnp.bfloat16 and name in OF_INPUT:
        names = "x"
    mine = held(name, dtype, case)[0]
    found = {a.name or a.kind for a in mine.arrays if a.read and a.kind != "computed"}
    assert (" ".join(sorted(found)), mine.computed) == (names, nbytes)


def test_the_table_of_ops():
    names = ["dropout", "max_pool", "layer_norm", "softmax_cross_entropy"]
    table = cost_table(names)
    lines = str(table).splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines[1:5]] == names
    assert lines[1].split() == ["dropout", "8", "0", "12", "12", "0.67"]
    assert lines[2].split() == ["max_pool", "360", "360", "720", "720", "0.50"]
    assert "| dropout | 8 | 0 | 12 | 12 | 0.67 |" in table.markdown().splitlines()
    with pytest.raises(ValueError, match="no op 'none'; the ops are attention, avg_pool"):
        cost_table(["none"])


# --- time and memory ------------------------------------------------------------------


def many(n):
    return lambda x: jax.lax.fori_loop(0, n, lambda _, y: jnp.sin(y) @ y, x)


def test_costs_tell_the_faster_from_the_slower():
    x = np.eye(64, dtype=np.float32)
    found = costs(many(2), many(400), x, rounds=5, seconds=10)
    low, middle, high = found.ratios
    assert 0 < low <= middle <= high
    assert middle < 0.5
    assert found.time.hand < found.time.plain
    flipped = costs(many(400), many(2), x, rounds=3, seconds=0)
    assert flipped.ratios[1] > 2


def test_costs_tell_the_larger_from_the_smaller():
    x = np.ones((300, 300), np.float32)
    found = costs(jnp.sum, lambda x: jnp.sort(x * 2, 0)[::-1] @ x, x, rounds=3)
    assert found.memory.plain >= x.nbytes > found.memory.hand


def test_rounds_and_seconds_bound_the_work():
    calls = []

    def counted(x):
        jax.debug.callback(lambda: calls.append(0))
        return many(10)(x)

    x = np.eye(256, dtype=np.float32)
    costs(counted, lambda x: x, x, rounds=50, seconds=0)
    jax.effects_barrier()
    assert len(calls) >= 5
    assert len(calls) % (len(calls) - 2) == 2  # two to warm up


def test_measure_a_loss():
    from funcnn import ops

    def loss(params, x, labels, key):
        hidden = ops.dropout(key, ops.gelu(ops.dense(x, *params)), 0.5)
        return ops.softmax_cross_entropy(hidden, labels).mean(), {"hidden": hidden}

    params = (np.ones((3, 8), np.float32), np.ones(8, np.float32))
    args = (params, X, np.array([1, 7]), jax.random.key(0))
    found = measure(loss, *args, rounds=3)
    assert found.held.hand == residuals(loss, *args).total
    assert found.held.plain == residuals(verify.autodiff(loss), *args).total
    assert found.held.hand < found.held.plain
    time, memory, kept = str(found).splitlines()
    assert "ms against" in time
    assert "of autodiff's, quartiles" in time
    assert memory.startswith("memory")
    assert kept.startswith(f"held   {found.held.hand} B against {found.held.plain} B (0.")
