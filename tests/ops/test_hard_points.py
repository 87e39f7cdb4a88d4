"""What ops do where formulas break: infinities, ties, empty batches, low precision."""

import functools
import importlib
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import ops
from funcnn.kernels import _chunks
from funcnn.ops._batch_norm import batch_norm_reference
from funcnn.ops._group_norm import group_norm_reference

INF = math.inf
DTYPES = pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
# What a result rounded to its dtype may be off by, relatively.
ROUNDING = {"bfloat16": 2**-8, "float16": 2**-10, "float32": 2e-6, "float64": 1e-13}


def value_and_pullback(op, arrays, dy=None):
    """The value and the gradients for the cotangent `dy`, by default ones, under jit."""

    @jax.jit
    def run(arrays, dy):
        y, pullback = jax.vjp(op, *arrays)
        given = jax.tree.map(jnp.ones_like, y) if dy is None else dy
        return y, pullback(jax.tree.map(lambda d, y: d.astype(y.dtype), given, y))

    return run(tuple(arrays), dy)


def accumulated(dtype):
    """What statistics of numbers of that dtype are in."""
    return "float64" if dtype == "float64" else "float32"


def wide(a):
    return np.asarray(a, np.float64)


def close(got, expected, rtol, atol=0.0):
    np.testing.assert_allclose(wide(got), wide(expected), rtol, atol)


def positive(*shape, seed=0):
    """Bfloat16 numbers around 1, whose sums grow as fast as their counts."""
    return jnp.asarray(np.random.default_rng(seed).uniform(0.5, 1.5, shape), jnp.bfloat16)


# Activations: (value, derivative) at -inf, at 0 and at +inf

LIMITS = {
    "relu": ((0, 0), (0, 0), (INF, 1)),
    "leaky_relu": ((-INF, 0.01), (0, 0.01), (INF, 1)),
    "elu": ((-1, 0), (0, 1), (INF, 1)),
    "sigmoid": ((0, 0), (0.5, 0.25), (1, 0)),
    "tanh": ((-1, 0), (0, 1), (1, 0)),
    "silu": ((0, 0), (0, 0.5), (INF, 1)),
    "gelu": ((0, 0), (0, 0.5), (INF, 1)),
    "gelu, exact": ((0, 0), (0, 0.5), (INF, 1)),
    "softplus": ((0, 0), (math.log(2), 0.5), (INF, 1)),
}


@DTYPES
@pytest.mark.parametrize("name", LIMITS)
def test_activations_reach_their_limits(name, dtype):
    op = getattr(ops, name.split(",")[0])
    constants = (False,) if name.endswith("exact") else ()
    low, zero, high = LIMITS[name]
    x = jnp.array([-INF, -1e4, 0.0, 1e4, INF], dtype)
    dy = jnp.array([0.5, -2.0, 4.0, -0.25, 8.0], dtype)

    y, (dx,) = value_and_pullback(lambda x: op(x, *constants), (x,), dy)

    far = wide(x)[[1, 3]]
    near_low = low[0] if math.isfinite(low[0]) else 0.01 * far[0]
    near_high = high[0] if math.isfinite(high[0]) else far[1]
    slopes = [low[1], low[1], zero[1], high[1], high[1]]
    assert y.dtype == dx.dtype == x.dtype
    close(y, [low[0], near_low, zero[0], near_high, high[0]], ROUNDING[dtype])
    close(dx, slopes * wide(dy), ROUNDING[dtype])


def test_the_derivative_of_relu_at_either_zero_is_zero():
    _, (dx,) = value_and_pullback(ops.relu, (jnp.array([0.0, -0.0]),))
    assert not dx.any()


def test_exact_gelu_keeps_its_digits_on_the_left():
    """What rounding does to the argument, the exponential magnifies by its square."""
    x = np.linspace(-12.5, -1.0, 500, dtype=np.float32)
    y, (dx,) = value_and_pullback(lambda x: ops.gelu(x, False), (x,))
    below = np.array([math.erfc(-v / math.sqrt(2)) / 2 for v in x.tolist()])
    slope = below + wide(x) * np.exp(-(wide(x) ** 2) / 2) / math.sqrt(2 * math.pi)
    magnified = (4 + wide(x) ** 2) * 2**-23
    assert (np.abs(wide(y) / (x * below) - 1) < magnified).all()
    assert (np.abs(wide(dx) / slope - 1) < magnified).all()


GATES = {
    "swiglu": (ops.swiglu, ops.silu),
    "geglu": (ops.geglu, ops.gelu),
    "geglu, exact": (
        functools.partial(ops.geglu, approximate=False),
        functools.partial(ops.gelu, approximate=False),
    ),
}


@DTYPES
@pytest.mark.parametrize("name", GATES)
def test_gates_reach_their_limits(name, dtype):
    gated, _ = GATES[name]
    gate = jnp.array([-INF, -INF, -1e4, 0.0, 1e4, INF, INF], dtype)
    value = jnp.array([2.0, -1e4, -3.0, 4.0, 2.0, 3.0, -0.5], dtype)
    dy = jnp.array([0.5, 1e4, -2.0, 4.0, -0.25, 8.0, -2.0], dtype)

    y, (dgate, dvalue) = value_and_pullback(gated, (gate, value), dy)

    far = wide(gate)[4]
    assert y.dtype == dgate.dtype == dvalue.dtype == dtype
    close(y, [0, 0, 0, 0, 2 * far, INF, -INF], ROUNDING[dtype])
    close(dgate, [0, 0, 0, 8, -0.5, 24, 1], ROUNDING[dtype])
    close(dvalue, [0, 0, 0, 0, -0.25 * far, INF, -INF], ROUNDING[dtype])


@pytest.mark.parametrize("name", GATES)
def test_infinite_values_pass_and_zeros_times_infinity_are_nan(name):
    gated, _ = GATES[name]
    gate = jnp.array([1.0, 1.0, -INF, INF])
    value = jnp.array([INF, -INF, INF, 0.0])
    y, (dgate, dvalue) = value_and_pullback(gated, (gate, value))
    close(y, [INF, -INF, math.nan, math.nan], 0)
    close(dgate, [INF, -INF, math.nan, 0], 0)
    assert np.isfinite(wide(dvalue)[:3]).all()


@DTYPES
@pytest.mark.parametrize("name", GATES)
def test_gates_are_their_activations(name, dtype):
    """Also far out on the left, where what passes is tiny and its digits are kept."""
    gated, activation = GATES[name]
    low = jnp.linspace(-9.0, 3.0, 49).astype(dtype)
    value, dy = normal(49).astype(dtype), normal(49).astype(dtype)
    gate = wide(low)

    y, (dgate, dvalue) = value_and_pullback(gated, (low, value), dy)
    act, (slope,) = value_and_pullback(activation, (jnp.asarray(gate),))

    rtol, atol = (5 * ROUNDING[dtype] + 1e-12, float(jnp.finfo(dtype).tiny))
    close(y, wide(act) * wide(value), rtol, atol)
    close(dvalue, wide(act) * wide(dy), rtol, atol)
    near = np.abs(wide(slope)) > 1e-2  # where it crosses 0, digits are lost
    expected = wide(slope) * wide(value) * wide(dy)
    close(wide(dgate)[near], expected[near], 5 * rtol)


def test_gates_of_two_dtypes():
    gate, value = normal(3, 4).astype("bfloat16"), normal(3, 4).astype("float32")
    for op in (ops.swiglu, ops.geglu):
        for arrays in ((gate, value), (value, gate)):
            y, gradients = value_and_pullback(op, arrays)
            assert y.dtype == jnp.float32
            assert [g.dtype for g in gradients] == [a.dtype for a in arrays]


# Softmax and its losses


@DTYPES
def test_softmax_of_a_masked_row_is_zero(dtype):
    x = jnp.array([[-INF, -INF, -INF], [0.0, -INF, 0.0], [1e4, -1e4, 1e4]], dtype)
    dy = jnp.array([[1.0, 2.0, -3.0]] * 3, dtype)
    y, (dx,) = value_and_pullback(ops.softmax, (x,), dy)
    assert y.dtype == dx.dtype == x.dtype
    close(y, [[0, 0, 0], [0.5, 0, 0.5], [0.5, 0, 0.5]], ROUNDING[dtype])
    close(dx, [[0, 0, 0], [1, 0, -1], [1, 0, -1]], ROUNDING[dtype])


@DTYPES
def test_log_softmax_of_a_masked_row_holds_no_nan(dtype):
    x = jnp.array([[-INF, -INF, -INF], [0.0, -INF, 0.0], [1e4, -1e4, 1e4]], dtype)
    dy = jnp.array([[1.0, 2.0, -4.0]] * 3, dtype)
    y, (dx,) = value_and_pullback(ops.log_softmax, (x,), dy)
    half = -math.log(2)
    gap = half + 2 * wide(x)[2, 1]
    close(y, [[-INF] * 3, [half, -INF, half], [half, gap, half]], ROUNDING[dtype])
    assert not np.isnan(wide(dx)).any()
    close(dx[1:], [[1.5, 2, -3.5]] * 2, ROUNDING[dtype], 2 * ROUNDING[dtype])


@DTYPES
def test_softmax_cross_entropy_of_large_logits(dtype):
    x = jnp.array([[1e4, -1e4, 0.0], [1e4, -1e4, 0.0], [-1e4, -1e4, -1e4]], dtype)
    labels = jnp.array([0, 1, 2])
    big = wide(x)[0, 0]
    y, (dx,) = value_and_pullback(lambda x: ops.softmax_cross_entropy(x, labels), (x,))
    close(y, [0, 2 * big, math.log(3)], ROUNDING[dtype])
    third = 1 / 3
    expected = [[0, 0, 0], [1, -1, 0], [third, third, third - 1]]
    close(dx, expected, 2 * ROUNDING[dtype])


@pytest.mark.parametrize("z_loss", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["integers", "probabilities"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_an_absent_class_adds_nothing(dtype, kind, z_loss):
    """A logit of -inf with label 0 leaves everything as if the class did not exist."""
    x = np.array([[0.5, -INF, 2.0, -1.0], [-INF, -INF, 3.0, 1.5]])
    present = [x[0, [0, 2, 3]], x[1, 2:]]
    q = [np.array([0.25, 0.0, 0.5, 0.25]), np.array([0.0, 0.0, 0.25, 0.75])]
    lse = [math.log(sum(map(math.exp, row))) for row in present]
    if kind == "integers":
        labels, q = jnp.array([2, 3]), [np.eye(4)[2], np.eye(4)[3]]
        arrays = (jnp.asarray(x, dtype),)

        def op(x):
            return ops.softmax_cross_entropy(x, labels, z_loss=z_loss)
    else:
        arrays = (jnp.asarray(x, dtype), jnp.asarray(q, dtype))

        def op(x, q):
            return ops.softmax_cross_entropy(x, q, z_loss=z_loss)

    y, (dx, *dq) = value_and_pullback(op, arrays)

    for row in range(2):
        there = np.isfinite(x[row])
        surprise = lse[row] - x[row, there]
        expected = q[row][there] @ surprise + z_loss * lse[row] ** 2
        slope = (1 + 2 * z_loss * lse[row]) * np.exp(-surprise) - q[row][there]
        close(y[row], expected, 2 * ROUNDING[dtype])
        close(dx[row, there], slope, 2 * ROUNDING[dtype], ROUNDING[dtype])
        assert not dx[row, ~there].any()
        if dq:
            close(dq[0][row, there], surprise, ROUNDING[dtype])
            assert not np.isnan(wide(dq[0])).any()


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_a_label_on_an_absent_class_is_an_infinite_loss_without_nan(dtype):
    x = jnp.array([[0.0, -INF], [-INF, -INF]], dtype)
    labels = jnp.array([1, 0])
    y, (dx,) = value_and_pullback(lambda x: ops.softmax_cross_entropy(x, labels), (x,))
    assert (wide(y) == INF).all()
    close(dx[0], [1, -1], 0)
    assert np.isfinite(wide(dx)).all()


# A chunk may hold all classes, or two of five: the last is a chunk of its own
CHUNKS = pytest.mark.parametrize("size", [5, 2], ids=["one chunk", "three chunks"])


@pytest.fixture
def chunks_of(monkeypatch):
    """Let chunks hold so many classes."""

    def choose(size):
        monkeypatch.setattr(_chunks, "classes_at_once", lambda _, most: min(size, most))

    jax.clear_caches()
    yield choose
    jax.clear_caches()


@CHUNKS
@pytest.mark.parametrize("junk", [3.0, INF, math.nan])
def test_an_ignored_example_is_as_if_it_did_not_exist(junk, size, chunks_of):
    chunks_of(size)
    x, weight, bias, dy = normal(4, 3), normal(3, 5), normal(5), normal(4)
    labels, counted = np.array([0, -100, 4, -100]), [0, 2]
    x = x.at[jnp.array([1, 3])].set(junk)

    def op(labels):
        return lambda *a: ops.linear_softmax_cross_entropy(
            *a[:2], labels, a[2], 0.1, 0.2, 3.0, -100
        )

    y, (dx, *rest) = value_and_pullback(op(labels), (x, weight, bias), dy)
    few = x[jnp.array(counted)], weight, bias
    short, (dshort, *others) = value_and_pullback(
        op(labels[counted]), few, dy[jnp.array(counted)]
    )
    close(y[jnp.array(counted)], short, 1e-14)
    close(dx[jnp.array(counted)], dshort, 1e-13)
    assert not y[1::2].any()
    assert not dx[1::2].any()
    for got, want in zip(rest, others, strict=True):
        close(got, want, 1e-12, 1e-13)


@CHUNKS
@pytest.mark.parametrize("label", [-1, 5, 300])
def test_a_label_out_of_range_is_nan_and_no_other_example_is(label, size, chunks_of):
    chunks_of(size)
    labels = jnp.array([2, label, 4])

    def op(x):
        return ops.linear_softmax_cross_entropy(x, normal(3, 5), labels, ignore=-7)

    y, (dx,) = value_and_pullback(op, (normal(3, 3),))
    assert np.isnan(wide(y)).tolist() == [False, True, False]
    assert np.isnan(wide(dx)).all(1).tolist() == [False, True, False]
    assert np.isfinite(wide(dx)[::2]).all()


def test_ignored_labels_of_types_that_cannot_hold_the_number():
    def op(dtype, ignore):
        labels = jnp.array([0, 1, 4], dtype)
        x, weight = normal(3, 3), normal(3, 5)
        return ops.linear_softmax_cross_entropy(x, weight, labels, ignore=ignore)

    close(op("uint8", -100), op("int32", None), 0)
    assert (wide(op("uint8", 4)) == 0).tolist() == [False, False, True]


@CHUNKS
def test_linear_softmax_cross_entropy_of_large_logits(size, chunks_of):
    chunks_of(size)
    x = jnp.array([[1e4], [1e4], [-1e4], [1.0]], "float32")
    weight = jnp.array([[-1.0, 0.0, 1.0, -1.0, -1.0]], "float32")
    labels = jnp.array([2, 0, 2, 1])
    y, (dx, dweight) = value_and_pullback(
        lambda *a: ops.linear_softmax_cross_entropy(*a, labels), (x, weight)
    )
    z = 1 + math.e + 3 / math.e
    close(y, [0, 2e4, 2e4 + math.log(3), math.log(z)], 1e-6)
    close(dx, [[0], [2], [-2], [(math.e - 3 / math.e) / z]], 1e-5)
    close(dweight[0, 2], 1e4 * (1 + 1) + math.e / z, 1e-6)


@CHUNKS
@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_classes_whose_bias_is_minus_infinity_add_nothing(dtype, size, chunks_of):
    chunks_of(size)
    x, weight, bias = (jnp.asarray(normal(*s), dtype) for s in ((2, 3), (3, 5), (5,)))
    there = jnp.array([2, 4])
    masked = jnp.full(5, -INF, dtype).at[there].set(bias[there])

    def op(labels):
        return lambda x, w, b: ops.linear_softmax_cross_entropy(x, w, labels, b, z_loss=0.1)

    y, (dx, dweight, dbias) = value_and_pullback(op(jnp.array([2, 4])), (x, weight, masked))
    fewer = x, weight[:, there], bias[there]
    expected, gradients = value_and_pullback(op(jnp.array([0, 1])), fewer)
    found = y, dx, dweight[:, there], dbias[there]
    for got, want in zip(found, (expected, *gradients), strict=True):
        close(got, wide(want), ROUNDING[dtype], ROUNDING[dtype])
    gone = jnp.array([0, 1, 3])
    assert not dweight[:, gone].any()
    assert not dbias[gone].any()
    y, (dx, *_) = value_and_pullback(op(jnp.array([0, 4])), (x, weight, masked))
    assert y[0] == INF
    assert np.isfinite(wide(dx)).all()


@CHUNKS
def test_no_class_at_all_holds_no_nan(size, chunks_of):
    chunks_of(size)
    labels, nothing = jnp.array([1, 4]), jnp.full(5, -INF)
    y, gradients = value_and_pullback(
        lambda *a: ops.linear_softmax_cross_entropy(*a[:2], labels, a[2], z_loss=0.1),
        (normal(2, 3), normal(3, 5), nothing),
    )
    assert (wide(y) == INF).all()
    assert all(np.isfinite(wide(g)).all() for g in gradients)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_cross_entropy_at_probability_zero(dtype):
    p = jnp.array([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]], dtype)
    q = jnp.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]], dtype)
    most = -math.log(1e-10)
    y, (dp, dq) = value_and_pullback(ops.cross_entropy, (p, q))
    rtol, atol = ROUNDING[dtype] + 1e-9, 1e-9  # log(1 + eps) is not quite 0
    close(y, [most, most / 2, 0], rtol, atol)
    close(dp, [[-1e10, 0], [-5e9, -0.5], [0, -1]], rtol)
    close(dq, [[most, 0]] * 3, rtol, atol)

    labels = jnp.array([0, 1, 0])
    y, (dp,) = value_and_pullback(lambda p: ops.cross_entropy(p, labels), (p,))
    close(y, [most, 0, most], rtol, atol)
    close(dp, [[-1e10, 0], [0, -1], [-1e10, 0]], rtol)


# Layer norm


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
@pytest.mark.parametrize("level", [0.0, 3.0, -128.0])
def test_layer_norm_of_a_constant_row(level, dtype):
    """The row becomes the offset; its gradient sees r = 1 / sqrt(eps) and xhat = 0."""
    x = jnp.full((2, 4), level, dtype)
    scale = jnp.array([1.0, -2.0, 0.5, 4.0], dtype)
    offset = jnp.array([0.5, 3.0, -1.0, 0.0], dtype)
    dy = jnp.array([[1.0, 2.0, -1.0, 0.5], [0.0, 1.0, 3.0, -2.0]], dtype)

    y, gradients = value_and_pullback(
        lambda *arrays: ops.layer_norm(*arrays, 1e-4), (x, scale, offset), dy
    )

    g = wide(dy) * wide(scale)
    close(y, [wide(offset)] * 2, 0)
    close(gradients[0], (g - g.mean(1, keepdims=True)) * 100, ROUNDING[dtype])
    assert not gradients[1].any()
    close(gradients[2], wide(dy).sum(0), 0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
@pytest.mark.parametrize("level", [0.0, 3.0, -128.0])
def test_group_norm_of_a_constant_group(level, dtype):
    x = jnp.full((2, 1, 3, 2), level, dtype)
    scale, offset = jnp.array([1.0, -2.0], dtype), jnp.array([0.5, 3.0], dtype)
    dy = jnp.arange(12, dtype=dtype).reshape(x.shape)

    y, gradients = value_and_pullback(
        lambda *arrays: ops.group_norm(*arrays, 1, 1e-4), (x, scale, offset), dy
    )

    g = wide(dy) * wide(scale)
    close(y, np.broadcast_to(wide(offset), x.shape), 0)
    mean = g.mean((1, 2, 3), keepdims=True)
    close(gradients[0], (g - mean) * 100, ROUNDING[dtype])
    assert not gradients[1].any()
    close(gradients[2], wide(dy).sum((0, 1, 2)), 0)


def test_group_norm_of_images_without_positions():
    x, scale, offset = zeros(2, 0, 3, 4), normal(4), normal(4)
    f = functools.partial(ops.group_norm, groups=2)
    y, (dx, dscale, doffset) = value_and_pullback(f, (x, scale, offset))
    assert y.shape == dx.shape == x.shape
    assert not dscale.any()
    assert not doffset.any()


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
@pytest.mark.parametrize("level", [0.0, 3.0, -128.0])
def test_batch_norm_of_a_constant_channel(level, dtype):
    x = jnp.full((2, 3, 2), level, dtype)
    scale, offset = jnp.array([1.0, -2.0], dtype), jnp.array([0.5, 3.0], dtype)
    dy = jnp.arange(12, dtype=dtype).reshape(x.shape)
    dmean, dvariance = jnp.array([[6.0, -3.0], [2.0, 5.0]], accumulated(dtype))

    y, gradients = value_and_pullback(
        lambda *arrays: ops.batch_norm(*arrays, 1e-4),
        (x, scale, offset),
        (dy, dmean, dvariance),
    )

    g = wide(dy) * wide(scale)
    close(y[0], np.broadcast_to(wide(offset), x.shape), 0)
    close(y[1], [level] * 2, 0)
    assert not y[2].any()
    expected = (g - g.mean((0, 1))) * 100 + wide(dmean) / 6  # and no term of dvariance
    close(gradients[0], expected, ROUNDING[dtype], 1e-5)
    assert not gradients[1].any()
    close(gradients[2], wide(dy).sum((0, 1)), 0)


@pytest.mark.parametrize("level", [1000.1, -7654321.3, 1e-20])
def test_batch_norm_of_a_constant_channel_whose_mean_is_rounded(level):
    """Off by the rounding of a rounding error at most, of some units in the last place."""
    x = np.full((999, 3), [level, 0, -level], np.float32)
    assert x[:, 0].mean() != x[0, 0]  # in NumPy; an order of sums that is off
    scale, offset, dy = np.float32([[1, -2, 3], [4, 5, 6], [7, 8, 9]])
    dy = dy * np.float32(np.random.default_rng(0).standard_normal(x.shape))
    y, (dx, dscale, _) = value_and_pullback(
        lambda *a: ops.batch_norm(*a)[0], (x, scale, offset), jnp.asarray(dy)
    )
    off = 8 * 2**-46 * abs(level) * 1e3  # of what is normalised, for r = 1e3
    close(y, np.broadcast_to(offset, x.shape), 1e-6, 3 * off)
    close(dscale, [0, 0, 0], 0, off * np.abs(dy).sum(0).max())
    g = wide(dy) * scale
    close(dx, (g - g.mean(0)) * 1e3, 1e-4, 1e-2)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(3,), (1, 3), (1, 1, 1, 3)], ids=str)
def test_batch_norm_of_one_row(shape, dtype):
    x = jnp.array([1e4, -0.3, 0.0], dtype).reshape(shape)
    scale, offset = jnp.array([1.0, -2.0, 7.0], dtype), jnp.array([0.5, 3.0, -1.0], dtype)
    dy = jnp.array([3.0, -5.0, 0.1], dtype).reshape(shape)
    dmean, dvariance = jnp.array([[6.0, -3.0, 1.0], [2.0, 5.0, 9.0]], accumulated(dtype))
    (y, mean, variance), (dx, dscale, doffset) = value_and_pullback(
        ops.batch_norm, (x, scale, offset), (dy, dmean, dvariance)
    )
    close(y, wide(offset).reshape(shape), 0)
    close(mean, wide(x).ravel(), 0)
    close(dx, wide(dmean).reshape(shape), 0)
    close(doffset, wide(dy).ravel(), 0)
    assert not variance.any()
    assert not dscale.any()


@pytest.mark.parametrize("shape", [(0, 3), (4, 0, 3), (0,), (2, 0)], ids=str)
def test_batch_norm_of_no_rows_or_no_channels(shape):
    arrays = zeros(*shape), normal(*shape[-1:]), normal(*shape[-1:])
    outputs = jax.eval_shape(ops.batch_norm, *arrays)
    dy = tuple(normal(*y.shape) for y in outputs)
    y, gradients = value_and_pullback(ops.batch_norm, arrays, dy)
    for a in (*y, *gradients):
        assert not a.any()
    assert [a.shape for a in y] == [shape, shape[-1:], shape[-1:]]


def test_batch_norm_of_a_channel_that_is_not_finite_spares_the_others():
    x = normal(5, 3).at[1, 0].set(jnp.nan).at[2, 1].set(jnp.inf)
    y, (dx, _, _) = value_and_pullback(
        lambda *a: ops.batch_norm(*a)[0], (x, normal(3), normal(3))
    )
    for a in (y, dx):
        assert jnp.isnan(a[:, 0]).all()
        assert jnp.isfinite(a[:, 2]).all()


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_rms_norm_of_a_row_of_zeros(dtype):
    x = jnp.zeros((2, 3), dtype)
    scale = jnp.array([1.0, -2.0, 0.5], dtype)
    dy = jnp.array([[1.0, 2.0, -1.0], [0.0, 1.0, 3.0]], dtype)
    f = functools.partial(ops.rms_norm, eps=1e-4)
    y, (dx, dscale) = value_and_pullback(f, (x, scale), dy)
    assert not y.any()
    close(dx, wide(dy) * wide(scale) * 100, ROUNDING[dtype])
    assert not dscale.any()


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_layer_norm_of_width_one(dtype):
    x = jnp.array([[3.0], [-1e4], [0.0]], dtype)
    scale, offset = jnp.array([2.0], dtype), jnp.array([0.75], dtype)
    y, (dx, dscale, doffset) = value_and_pullback(ops.layer_norm, (x, scale, offset))
    close(y, [[0.75]] * 3, 0)
    assert not dx.any()
    assert not dscale.any()
    close(doffset, [3], 0)


# Pools


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_max_pool_of_a_constant_image_pays_the_first_of_each_window(dtype):
    x = jnp.full((1, 4, 4, 1), -2.0, dtype)
    dy = jnp.array([[1.0, 2.0], [3.0, 4.0]], dtype)[None, :, :, None]
    y, (dx,) = value_and_pullback(lambda x: ops.max_pool(x, 2), (x,), dy)
    close(y, np.full((1, 2, 2, 1), -2.0), 0)
    expected = np.zeros((4, 4))
    expected[::2, ::2] = [[1, 2], [3, 4]]
    close(dx[0, :, :, 0], expected, 0)


def test_overlapping_windows_add_up_at_a_tie():
    x = jnp.array([0.0, 1.0, 1.0, 1.0, 0.0])[None, :, None]
    dy = jnp.array([1.0, 10.0, 100.0])[None, :, None]
    _, (dx,) = value_and_pullback(lambda x: ops.max_pool(x, 3, 1), (x,), dy)
    close(dx.ravel(), [0, 11, 100, 0, 0], 0)


def test_max_pool_of_minus_infinity_holds_no_nan():
    x = jnp.full((1, 3, 3, 1), -INF)
    y, (dx,) = value_and_pullback(lambda x: ops.max_pool(x, 2, 1, 1), (x,))
    assert (y == -INF).all()
    assert jnp.isfinite(dx).all()


# Empty batches


def zeros(*shape):
    return jnp.zeros(shape)


def normal(*shape):
    return jnp.asarray(np.random.default_rng(1).standard_normal(shape))


def at_label_zero(loss):
    return lambda x: loss(x, jnp.zeros(x.shape[:-1], int))


EMPTY = {
    "dense": (ops.dense, (zeros(0, 3), normal(3, 2), normal(2)), (0, 2)),
    "dot": (ops.dot, (zeros(0, 3), normal(3, 2)), (0, 2)),
    "matmul": (ops.matmul, (zeros(0, 4, 3), normal(3, 2)), (0, 4, 2)),
    "tensordot": (
        lambda a, b: ops.tensordot(a, b, 1),
        (zeros(0, 4, 3), normal(3, 2)),
        (0, 4, 2),
    ),
    "conv": (ops.conv, (zeros(0, 4, 5, 2), normal(3, 3, 2, 3), normal(3)), (0, 4, 5, 3)),
    "conv_transpose": (
        lambda *arrays: ops.conv_transpose(*arrays, 2),
        (zeros(0, 4, 5, 2), normal(3, 3, 2, 3), normal(3)),
        (0, 8, 10, 3),
    ),
    "im2col": (lambda x: ops.im2col(x, 3), (zeros(0, 4, 5, 2),), (0, 4, 5, 18)),
    "col2im": (
        lambda cols: ops.col2im(cols, (0, 4, 5, 2), 3),
        (zeros(0, 4, 5, 18),),
        (0, 4, 5, 2),
    ),
    "max_pool": (lambda x: ops.max_pool(x, 2), (zeros(0, 4, 6, 2),), (0, 2, 3, 2)),
    "avg_pool": (lambda x: ops.avg_pool(x, 2), (zeros(0, 4, 6, 2),), (0, 2, 3, 2)),
    "layer_norm": (ops.layer_norm, (zeros(0, 3), normal(3), normal(3)), (0, 3)),
    "rms_norm": (ops.rms_norm, (zeros(0, 3), normal(3)), (0, 3)),
    "group_norm": (
        lambda *arrays: ops.group_norm(*arrays, 2),
        (zeros(0, 3, 4), normal(4), normal(4)),
        (0, 3, 4),
    ),
    "batch_norm": (
        lambda *arrays: ops.batch_norm(*arrays)[0],
        (zeros(0, 3, 4), normal(4), normal(4)),
        (0, 3, 4),
    ),
    "softmax": (ops.softmax, (zeros(0, 3),), (0, 3)),
    "log_softmax": (ops.log_softmax, (zeros(0, 3),), (0, 3)),
    "softmax_cross_entropy": (
        at_label_zero(ops.softmax_cross_entropy),
        (zeros(0, 3),),
        (0,),
    ),
    "linear_softmax_cross_entropy": (
        lambda x, weight, bias: ops.linear_softmax_cross_entropy(
            x, weight, jnp.zeros(0, int), bias
        ),
        (zeros(0, 3), normal(3, 2), normal(2)),
        (0,),
    ),
    "cross_entropy": (at_label_zero(ops.cross_entropy), (zeros(0, 3),), (0,)),
    "mse": (ops.mse, (zeros(0, 3), zeros(0, 3)), (0, 3)),
    "swiglu": (ops.swiglu, (zeros(0, 3), zeros(0, 3)), (0, 3)),
    "geglu": (ops.geglu, (zeros(0, 3), zeros(0, 3)), (0, 3)),
    "embed": (
        lambda table: ops.embed(table, jnp.zeros((0, 2), int)),
        (normal(4, 3),),
        (0, 2, 3),
    ),
    "rope": (ops.rope, (zeros(0, 3, 2, 4),), (0, 3, 2, 4)),
    "attention": (ops.attention, (zeros(0, 3, 2, 4),) * 3, (0, 3, 2, 4)),
    "dropout": (
        lambda x: ops.dropout(jax.random.key(0), x, 0.5),
        (zeros(0, 3),),
        (0, 3),
    ),
    **{
        name: (getattr(ops, name), (zeros(0, 3),), (0, 3))
        for name in (each for each in LIMITS if "," not in each)
    },
}


@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_batch_gives_nothing_and_zero_gradients(name):
    op, arrays, shape = EMPTY[name]
    y, gradients = value_and_pullback(op, arrays)
    assert y.shape == shape
    for a, g in zip(arrays, gradients, strict=True):
        assert (g.shape, g.dtype) == (a.shape, a.dtype)
        assert not g.any()


# Embeddings


@DTYPES
def test_embed_out_of_range_is_nan_and_pays_no_row(dtype):
    table = jnp.asarray(normal(4, 2), dtype)
    ids = jnp.array([[0, -1, 4], [3, -(2**31), 2**31 - 1]])
    dy = jnp.arange(1, 13).reshape(2, 3, 2)
    y, (dtable,) = value_and_pullback(lambda table: ops.embed(table, ids), (table,), dy)
    assert y.dtype == dtable.dtype == dtype
    assert (np.isnan(wide(y)).all(-1) == [[False, True, True]] * 2).all()
    close(y[:, 0], wide(table)[[0, 3]], 0)
    close(dtable, [[1, 2], [0, 0], [0, 0], [7, 8]], 0)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint32, np.int64])
def test_ids_narrower_than_the_number_of_rows(dtype):
    table, ids = normal(1000, 2), np.array([3, 100, 3])
    dy = normal(3, 2)
    y, (dtable,) = value_and_pullback(
        lambda table: ops.embed(table, ids.astype(dtype)), (table,), dy
    )
    close(y, table[ids], 0)
    expected = np.zeros((1000, 2))
    np.add.at(expected, ids, dy)
    close(dtable, expected, 1e-14)


def test_rope_is_accurate_far_out():
    """In float32, against angles in float64: a product in float32 is off by 0.004.

    Four roundings of an angle below pi make 7e-7, and points lie within the square root
    of 2.
    """
    for positions in ([0, 1, 99_999, 100_000], [-100_000, 2**24 + 1, 2**31 - 1, -(2**31)]):
        positions = np.array(positions, np.int32)
        x = np.random.default_rng(0).uniform(-1, 1, (1, 4, 2, 128)).astype(np.float32)
        turns = np.exp(1j * positions[:, None, None] * 1e4 ** (-np.arange(64) / 64))
        y, pull = jax.vjp(functools.partial(ops.rope, positions=positions), x)
        for found, turn in ((y, turns), (pull(x)[0], turns.conj())):
            z = turn * (x[..., :64] + 1j * x[..., 64:])
            close(found, np.concatenate([z.real, z.imag], -1), 0, 1e-6)


@DTYPES
def test_rope_depends_on_distances_and_its_pullback_undoes_it(dtype):
    q, k = (jnp.asarray(normal(1, 5, 1, 8), dtype) for _ in range(2))
    near, far = jnp.arange(5), 1000 + jnp.arange(5)
    tolerance = 20 * ROUNDING[dtype]

    def scores(positions):
        a, b = (wide(ops.rope(x, positions)) for x in (q, k))
        return np.einsum("bthd,bshd->ts", a, b)

    close(scores(far), scores(near), 0, tolerance)
    y, (dx,) = value_and_pullback(ops.rope, (q,), ops.rope(q))
    assert y.dtype == dx.dtype == dtype
    close(dx, q, 0, tolerance)
    close(y[:, 0], q[:, 0], 0)


# Dropout


def drop(x, rate, seed=0):
    return value_and_pullback(lambda x: ops.dropout(jax.random.key(seed), x, rate), (x,))


def test_dropout_of_nothing_is_the_identity():
    x = normal(3, 4)
    y, (dx,) = drop(x, 0.0)
    close(y, x, 0)
    close(dx, np.ones((3, 4)), 0)


@pytest.mark.parametrize("rate", [1, 1.0])
def test_dropout_of_everything_is_zero_even_at_infinity(rate):
    y, (dx,) = drop(jnp.array([1.0, -INF, INF, jnp.nan]), rate)
    assert not y.any()
    assert not dx.any()


@pytest.mark.parametrize("rate", [-0.1, 1.1, math.nan])
def test_dropout_wants_a_share(rate):
    with pytest.raises(ValueError, match="dropout needs rate"):
        ops.dropout(jax.random.key(0), jnp.ones(3), rate)


@DTYPES
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_dropout_drops_its_share_and_keeps_the_mean(rate, dtype):
    n = 40_000
    y, _ = drop(jnp.ones(n, dtype), rate)
    assert y.dtype == dtype
    y = wide(y)
    kept = y != 0
    close(y[kept], 1 / (1 - rate), ROUNDING[dtype])
    # Five standard deviations of a share of n.
    assert abs(kept.mean() - (1 - rate)) < 5 * math.sqrt(rate * (1 - rate) / n)


@DTYPES
def test_dropout_uses_one_mask_forward_and_backward(dtype):
    x = 2 + jnp.abs(normal(50, 7)).astype(dtype)
    y, (dx,) = drop(x, 0.3)
    assert dx.dtype == dtype
    close((y != 0), (dx != 0), 0)
    close(dx[dx != 0], 1 / 0.7, ROUNDING[dtype])
    close(y, wide(x) * wide(dx), 3 * ROUNDING[dtype])


def test_the_mask_hangs_on_the_key_and_the_shape_alone():
    x = 1 + jnp.abs(normal(20, 30))
    mask = drop(x, 0.5)[0] != 0
    for same in (
        drop(-x, 0.5)[0],
        drop(x.astype("bfloat16"), 0.5)[0],
        ops.dropout(jax.random.key(0), x, 0.5),
        ops.dropout(jax.random.PRNGKey(0), x, 0.5),
        jax.vmap(lambda x: ops.dropout(jax.random.key(0), x, 0.5))(x[None])[0],
    ):
        assert ((same != 0) == mask).all()
    other = drop(x, 0.5, seed=1)[0] != 0
    assert 0.4 < (other == mask).mean() < 0.6


def test_keys_may_be_mapped_over():
    keys, x = jax.random.split(jax.random.key(0), 3), jnp.ones((3, 200))

    def gradient(key, x):
        y, pullback = jax.vjp(lambda x: ops.dropout(key, x, 0.5), x)
        return y, pullback(jnp.ones_like(y))[0]

    y, dx = jax.vmap(gradient)(keys, x)
    close(y, dx, 0)
    for i in range(3):
        close(y[i], ops.dropout(keys[i], x[i], 0.5), 0)
    assert not (y[0] == y[1]).all()


# Low precision


def registry():
    """Every op by name, with its first case that holds anything."""
    found = {}
    for path in sorted(Path(ops.__file__).parent.glob("_[a-z]*.py")):
        name = path.stem[1:]
        module = importlib.import_module(f"funcnn.ops.{path.stem}")
        cases = getattr(module, f"{name}_cases")(np.random.default_rng(0))
        full = (c for c in cases.values() if all(np.size(a) for a in c))
        found[name] = getattr(module, name), next(full)
    return found


OPS = registry()
# Low-precision losses come in float32, see their docstrings.
IN_FLOAT32 = {"softmax_cross_entropy", "cross_entropy", "mse"}
IN_FLOAT32 |= {"linear_softmax_cross_entropy"}


def is_floating(a):
    array = isinstance(a, np.ndarray | jax.Array | np.floating)
    return array and jnp.issubdtype(a.dtype, jnp.floating)


def in_bfloat16(name):
    """An op as a function of its floating arguments, and those in bfloat16."""
    op, case = OPS[name]
    places = [i for i, a in enumerate(case) if is_floating(a)]

    def at_floats(*arrays):
        arguments = list(case)
        for i, a in zip(places, arrays, strict=True):
            arguments[i] = a
        return op(*arguments)

    return at_floats, [jnp.asarray(case[i], "bfloat16") for i in places]


@pytest.mark.parametrize("name", OPS)
def test_bfloat16_in_bfloat16_out(name):
    """And both are what float64 makes of the same numbers, rounded once or twice."""
    at_floats, low = in_bfloat16(name)
    high = [a.astype("float64") for a in low]
    rng = np.random.default_rng(2)
    shapes = jax.eval_shape(at_floats, *low)
    dy = jax.tree.map(lambda s: jnp.asarray(rng.normal(size=s.shape), "bfloat16"), shapes)

    y, gradients = value_and_pullback(at_floats, low, dy)
    exact, expected = value_and_pullback(at_floats, high, dy)

    first, *statistics = ys = jax.tree.leaves(y)
    assert first.dtype == ("float32" if name in IN_FLOAT32 else "bfloat16")
    assert all(s.dtype == "float32" for s in statistics)
    found, wanted = (*ys, *gradients), (*jax.tree.leaves(exact), *expected)
    for g, e, a in zip(found, wanted, (*ys, *low), strict=True):
        assert g.dtype == a.dtype
        size = np.abs(wide(e)).max(initial=0)
        close(g, e, 2**-7, 2**-7 * size)


def equations(jaxpr):
    """Those of a jaxpr and of all jaxprs within."""
    for equation in jaxpr.eqns:
        yield equation
        for value in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda v: hasattr(v, "jaxpr")
        ):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


SUMS = {"dot_general", "conv_general_dilated", "reduce_sum", "reduce_window_sum", "cumsum"}
SUMS |= {"scatter-add"}


@pytest.mark.parametrize("name", OPS)
def test_no_sum_is_taken_in_bfloat16(name):
    """CPUs widen many of them unasked, so numbers alone cannot tell: read the program."""
    op, low = in_bfloat16(name)

    def value_and_gradients(*arrays):
        y, pullback = jax.vjp(op, *arrays)
        return y, pullback(jax.tree.map(jnp.ones_like, y))

    for equation in equations(jax.make_jaxpr(value_and_gradients)(*low).jaxpr):
        if equation.primitive.name in SUMS:
            assert equation.outvars[0].aval.dtype != jnp.bfloat16, str(equation)


# Sums of thousands of terms about 1. Bfloat16 stops counting at 256, since 256 + 1 = 256.

N = 4608
ONCE = 2**-8


def test_dense_sums_in_float32():
    x, weight, dy = positive(2, N), positive(N, 3, seed=1), positive(2, 3, seed=2)
    y, _ = value_and_pullback(ops.dense, (x, weight, positive(3)), dy)
    close(y, wide(x) @ wide(weight) + wide(positive(3)), ONCE)

    weight, dy = positive(3, N), positive(2, N, seed=2)
    arrays = positive(2, 3), weight, positive(N)
    close(value_and_pullback(ops.dense, arrays, dy)[1][0], wide(dy) @ wide(weight).T, ONCE)

    x, dy = positive(N, 3), positive(N, 2, seed=1)
    arrays = x, positive(3, 2), positive(2)
    _, (_, dweight, dbias) = value_and_pullback(ops.dense, arrays, dy)
    close(dweight, wide(x).T @ wide(dy), ONCE)
    close(dbias, wide(dy).sum(0), ONCE)


def test_products_sum_in_float32():
    a, b = positive(2, N), positive(N, 3, seed=1)
    expected = wide(a) @ wide(b)
    close(ops.dot(a, b), expected, ONCE)
    close(ops.matmul(a, b), expected, ONCE)
    close(ops.tensordot(a, b, 1), expected, ONCE)

    a, b, dy = positive(N, 2), positive(2, 3), positive(N, 3, seed=1)
    for op in (ops.dot, ops.matmul, lambda a, b: ops.tensordot(a, b, 1)):
        _, (_, db) = value_and_pullback(op, (a, b), dy)
        close(db, wide(a).T @ wide(dy), ONCE)
        _, (da, _) = value_and_pullback(op, (b.T, a.T), dy.T)
        close(da, wide(dy).T @ wide(a), ONCE)


def test_matmul_sums_over_broadcast_axes_in_float32():
    a, b, dy = positive(N, 1, 2), positive(2, 3), positive(N, 1, 3, seed=1)
    _, (_, db) = value_and_pullback(ops.matmul, (a, b), dy)
    close(db, np.einsum("nik,nij->kj", wide(a), wide(dy)), ONCE)


def test_conv_sums_in_float32():
    x, weight = positive(1, 3, 3, N // 9), positive(3, 3, N // 9, 2, seed=1)
    y = ops.conv(x, weight, positive(2), padding="VALID")
    expected = np.einsum("nijc,ijco->no", wide(x), wide(weight)) + wide(positive(2))
    close(y[:, 0, 0], expected, ONCE)

    weight, dy = positive(3, 3, 2, N // 9), positive(1, 5, 5, N // 9, seed=1)
    arrays = positive(1, 5, 5, 2), weight, positive(N // 9)
    _, (dx, _, _) = value_and_pullback(ops.conv, arrays, dy)
    turned = wide(dy)[0, 3:0:-1, 3:0:-1]  # Input (2, 2) is tap (i, j) of (3 - i, 3 - j).
    close(dx[0, 2, 2], np.einsum("ijo,ijco->c", turned, wide(weight)), ONCE)

    x, dy = positive(2, 48, 48, 2), positive(2, 48, 48, 3, seed=1)
    arrays = x, positive(3, 3, 2, 3), positive(3)
    _, (_, dweight, dbias) = value_and_pullback(ops.conv, arrays, dy)
    close(dweight[1, 1], np.einsum("nijc,nijo->co", wide(x), wide(dy)), ONCE)
    close(dbias, wide(dy).sum((0, 1, 2)), ONCE)


def test_conv_transpose_sums_in_float32():
    x, weight = positive(1, 4, 4, N // 4), positive(2, 2, N // 4, 2, seed=1)
    y = ops.conv_transpose(x, weight, positive(2), padding=0)
    patch = wide(x)[0, 1:3, 1:3]
    expected = np.einsum("ijc,ijco->o", patch, wide(weight)) + wide(positive(2))
    close(y[0, 1, 1], expected, ONCE)

    weight, dy = positive(2, 2, 2, N // 4), positive(1, 8, 8, N // 4, seed=1)
    arrays = positive(1, 4, 4, 2), weight, positive(N // 4)
    f = functools.partial(ops.conv_transpose, stride=2)
    _, (dx, _, _) = value_and_pullback(f, arrays, dy)
    patch = wide(dy)[0, 3:1:-1, 3:1:-1]
    close(dx[0, 1, 1], np.einsum("ijo,ijco->c", patch, wide(weight)), ONCE)

    x, dy = positive(2, 48, 48, 2), positive(2, 48, 48, 3, seed=1)
    arrays = x, positive(1, 1, 2, 3), positive(3)
    _, (_, dweight, dbias) = value_and_pullback(ops.conv_transpose, arrays, dy)
    close(dweight[0, 0], np.einsum("nijc,nijo->co", wide(x), wide(dy)), ONCE)
    close(dbias, wide(dy).sum((0, 1, 2)), ONCE)


def heap(n):
    """A large number amid `n` ones: about it, 1 more is nothing to bfloat16."""
    return np.where(np.arange(n) == n // 2, 1024.0, 1.0)


def test_avg_pool_sums_in_float32():
    x = positive(1, 32, 32, 2)
    y = jax.jit(lambda x: ops.avg_pool(x, 32))(x)
    close(y[0, 0, 0], wide(x)[0].mean((0, 1)), ONCE)

    x, dy = jnp.zeros((1, 199, 1), "bfloat16"), jnp.asarray(heap(100), "bfloat16")
    _, (dx,) = value_and_pullback(
        lambda x: ops.avg_pool(x, 100, 1), (x,), dy.reshape(1, 100, 1)
    )
    close(dx[0, 99, 0], heap(100).mean(), ONCE)


def test_overlapping_windows_sum_in_float32():
    """A maximum that a hundred windows see; columns put back where they came from."""
    x = jnp.zeros((1, 199, 1), "bfloat16").at[0, 99].set(1)
    dy = jnp.asarray(heap(100), "bfloat16").reshape(1, 100, 1)
    _, (dx,) = value_and_pullback(lambda x: ops.max_pool(x, 100, 1), (x,), dy)
    close(dx[0, 99, 0], heap(100).sum(), ONCE)

    columns = dy * jnp.ones((1, 1, 100), "bfloat16")
    back = jax.jit(lambda c: ops.col2im(c, (1, 199, 1), 100, padding="VALID"))(columns)
    close(back[0, 99, 0], heap(100).sum(), ONCE)
    _, (dx,) = value_and_pullback(
        lambda x: ops.im2col(x, 100, padding="VALID"), (x,), columns
    )
    close(dx[0, 99, 0], heap(100).sum(), ONCE)


def test_layer_norm_sums_in_float32():
    x, scale, offset = positive(2, N), positive(N, seed=1), positive(N, seed=2)
    dy = positive(2, N, seed=3)
    y, (dx, _, _) = value_and_pullback(ops.layer_norm, (x, scale, offset), dy)
    centred = wide(x) - wide(x).mean(1, keepdims=True)
    std = np.sqrt((centred**2).mean(1, keepdims=True) + 1e-6)
    xhat, g = centred / std, wide(dy) * wide(scale)
    close(y, xhat * wide(scale) + wide(offset), ONCE, 1e-3)
    projected = g - g.mean(1, keepdims=True) - xhat * (xhat * g).mean(1, keepdims=True)
    close(dx, projected / std, ONCE, 1e-4)

    x, dy = 2 * positive(N, 3), positive(N, 3, seed=1)
    x = x.at[:, 2].set(9)  # so that each column of xhat has a mean of its own
    arrays = x, positive(3), positive(3)
    _, (_, dscale, doffset) = value_and_pullback(ops.layer_norm, arrays, dy)
    centred = wide(x) - wide(x).mean(1, keepdims=True)
    xhat = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-6)
    close(dscale, (xhat * wide(dy)).sum(0), ONCE)
    close(doffset, wide(dy).sum(0), ONCE)


def test_rms_norm_sums_in_float32():
    x, scale, dy = positive(2, N), positive(N, seed=1), positive(2, N, seed=2)
    y, (dx, _) = value_and_pullback(ops.rms_norm, (x, scale), dy)
    rms = np.sqrt((wide(x) ** 2).mean(1, keepdims=True) + 1e-6)
    xhat, g = wide(x) / rms, wide(dy) * wide(scale)
    close(y, xhat * wide(scale), ONCE)
    close(dx, (g - xhat * (xhat * g).mean(1, keepdims=True)) / rms, ONCE, 1e-3)

    arrays, dy = (positive(N, 3), positive(3, seed=1)), positive(N, 3, seed=2)
    _, (_, dscale) = value_and_pullback(ops.rms_norm, arrays, dy)
    rms = np.sqrt((wide(arrays[0]) ** 2).mean(1, keepdims=True) + 1e-6)
    close(dscale, (wide(arrays[0]) / rms * wide(dy)).sum(0), ONCE)


def test_group_norm_sums_in_float32():
    x, scale, offset = positive(2, N, 2), positive(2, seed=1), positive(2, seed=2)
    dy = positive(2, N, 2, seed=3)
    f = functools.partial(ops.group_norm, groups=1)
    y, (dx, dscale, doffset) = value_and_pullback(f, (x, scale, offset), dy)
    centred = wide(x) - wide(x).mean((1, 2), keepdims=True)
    std = np.sqrt((centred**2).mean((1, 2), keepdims=True) + 1e-6)
    xhat, g = centred / std, wide(dy) * wide(scale)
    close(y, xhat * wide(scale) + wide(offset), ONCE, 1e-3)
    mean_g, mean_xg = (a.mean((1, 2), keepdims=True) for a in (g, xhat * g))
    close(dx, (g - mean_g - xhat * mean_xg) / std, ONCE, 1e-3)
    close(dscale, (xhat * wide(dy)).sum((0, 1)), ONCE, 1e-2)
    close(doffset, wide(dy).sum((0, 1)), ONCE)


def test_batch_norm_sums_in_float32():
    x, scale, offset = positive(N, 2), positive(2, seed=1), positive(2, seed=2)
    dy = positive(N, 2, seed=3), positive(2, seed=4), positive(2, seed=5)
    found, (dx, dscale, doffset) = value_and_pullback(
        ops.batch_norm, (x, scale, offset), dy
    )
    mean, centred = wide(x).mean(0), wide(x) - wide(x).mean(0)
    variance = (centred**2).mean(0)
    std = np.sqrt(variance + 1e-6)
    xhat, g = centred / std, wide(dy[0]) * wide(scale)
    close(found[0], xhat * wide(scale) + wide(offset), ONCE, 1e-3)
    close(found[1], mean, 1e-5)
    close(found[2], variance, 1e-5)
    expected = (g - g.mean(0) - xhat * (xhat * g).mean(0)) / std
    expected += (wide(dy[1]) + 2 * centred * wide(dy[2])) / N
    close(dx, expected, ONCE, 1e-3)
    close(dscale, (xhat * wide(dy[0])).sum(0), ONCE, 1e-2)
    close(doffset, wide(dy[0]).sum(0), ONCE)


def test_embed_sums_in_float32():
    ids, dy = np.arange(N) % 3, positive(N, 2)
    _, (dtable,) = value_and_pullback(
        lambda table: ops.embed(table, ids), (positive(4, 2),), dy
    )
    expected = [wide(dy)[ids == i].sum(0) for i in range(4)]
    close(dtable, expected, ONCE)


def test_softmaxes_sum_in_float32():
    x, dy = positive(2, N), positive(2, N, seed=1)
    p = np.exp(wide(x)) / np.exp(wide(x)).sum(1, keepdims=True)
    y, (dx,) = value_and_pullback(ops.softmax, (x,), dy)
    close(y, p, ONCE)
    expected = p * (wide(dy) - (p * wide(dy)).sum(1, keepdims=True))
    close(dx, expected, 2 * ONCE, 2 * ONCE * p.max())
    close(ops.log_softmax(x), np.log(p), ONCE)


def test_softmax_cross_entropy_sums_in_float32():
    x, labels = positive(2, N), jnp.array([3, N - 1])
    p = np.exp(wide(x)) / np.exp(wide(x)).sum(1, keepdims=True)
    hot = np.eye(N)[[3, N - 1]]
    y, (dx,) = value_and_pullback(lambda x: ops.softmax_cross_entropy(x, labels), (x,))
    close(y, -np.log(p[[0, 1], labels]), ONCE)
    close(dx, p - hot, ONCE)

    q = positive(2, N, seed=1)  # sums to thousands, not to 1
    y, (dx, dq) = value_and_pullback(ops.softmax_cross_entropy, (x, q))
    close(y, -(wide(q) * np.log(p)).sum(1), ONCE)
    close(dx, wide(q).sum(1, keepdims=True) * p - wide(q), ONCE, 2 * ONCE)
    close(dq, -np.log(p), ONCE)


def test_linear_softmax_cross_entropy_sums_in_float32():
    x, weight = positive(2, N), positive(N, 3, seed=1)
    weight, labels = weight / N, jnp.array([0, 2])
    s = wide(x) @ wide(weight)
    p = np.exp(s) / np.exp(s).sum(1, keepdims=True)
    g = p - np.eye(3)[[0, 2]]

    def op(*arrays):
        return ops.linear_softmax_cross_entropy(*arrays[:2], labels, *arrays[2:])

    y, (dx, dweight) = value_and_pullback(op, (x, weight))
    close(y, -np.log(p[[0, 1], labels]), 1e-5)
    close(dx, g @ wide(weight).T, ONCE, 4 * ONCE * wide(weight).max())
    close(dweight, wide(x).T @ g, 2 * ONCE, 4 * ONCE)

    x, weight, bias, dy = positive(N, 2), positive(2, 3), positive(3), positive(N, seed=1)
    labels = jnp.arange(N) % 3
    s = wide(x) @ wide(weight) + wide(bias)
    p = np.exp(s) / np.exp(s).sum(1, keepdims=True)
    g = wide(dy)[:, None] * (p - np.eye(3)[labels])
    _, (_, dweight, dbias) = value_and_pullback(op, (x, weight, bias), dy)
    size = np.abs(g).sum(0).max()
    close(dbias, g.sum(0), ONCE, 1e-5 * size)
    close(dweight, wide(x).T @ g, ONCE, 1e-4 * size)


def test_cross_entropy_sums_in_float32():
    p, q = positive(2, N), positive(2, N, seed=1)
    expected = -(wide(q) * np.log(wide(p) / 4)).sum(1)
    close(ops.cross_entropy(p / 4, q), expected, ONCE)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_numpy_numbers_promote_nothing(dtype):
    x = jnp.asarray([[-1.0, 2.0]], jnp.bfloat16)
    number = dtype(0.25)
    labels = jnp.array([1])
    with jax.numpy_dtype_promotion("standard"):
        for f in (
            lambda x: ops.dropout(jax.random.key(0), x, number),
            lambda x: ops.leaky_relu(x, number),
            lambda x: ops.elu(x, number),
            lambda x: ops.layer_norm(x, x[0], x[0], number),
        ):
            y, vjp = jax.vjp(f, x)
            assert y.dtype == vjp(y)[0].dtype == jnp.bfloat16
        for f in (
            lambda x: ops.softmax_cross_entropy(x, labels, number, number),
            lambda x: ops.cross_entropy(jnp.exp(x), labels, number),
        ):
            y, vjp = jax.vjp(f, x)
            assert (y.dtype, vjp(y)[0].dtype) == (jnp.float32, jnp.bfloat16)


def test_numpy_integers_are_padding_too():
    x = jnp.ones((1, 4, 4, 1))
    assert ops.avg_pool(x, 3, 1, np.int64(1)).shape == x.shape


def test_dropout_takes_one_key():
    keys = jax.random.split(jax.random.key(0), 3)
    for rate in (0.0, 0.5):
        with pytest.raises(ValueError, match=r"dropout needs one key .*got shape \(3,\)"):
            ops.dropout(keys, jnp.ones(3), rate)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint32, np.int64])
def test_labels_narrower_than_the_number_of_classes(dtype):
    scores = jnp.asarray(np.random.default_rng(0).uniform(0.1, 1, (2, 1000)))
    labels = np.array([3, 100])
    for op in (ops.softmax_cross_entropy, ops.cross_entropy):
        np.testing.assert_array_equal(op(scores, labels.astype(dtype)), op(scores, labels))


def test_group_norm_of_groups_that_differ_by_a_last_digit():
    above = np.nextafter(np.float32(1000), np.float32(2000))
    x = np.full((1, 4, 4, 2), 1000, np.float32)
    x[:, 1:3] = above
    scale, offset = np.float32([2, 3]), np.float32([1, -1])
    dy = np.random.default_rng(0).standard_normal(x.shape).astype(np.float32)

    def pulled(f, *arrays):
        y, pull = jax.vjp(lambda *a: f(*a, 1, 1e-12), *map(jnp.asarray, arrays[:-1]))
        return y, *pull(jnp.asarray(arrays[-1]))

    found = pulled(ops.group_norm, x, scale, offset, dy)
    wide = (a.astype(np.float64) for a in (x, scale, offset, dy))
    wanted = pulled(group_norm_reference, *wide)
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(b).max())


def test_batch_norm_of_channels_that_differ_by_a_last_digit():
    above = np.nextafter(np.float32(1000), np.float32(2000))
    x = np.full((8, 4, 3), 1000, np.float32)
    x[3:5] = above
    x[..., 2] = np.arange(32, dtype=np.float32).reshape(8, 4)  # one that is near 0
    scale, offset = np.float32([2, 3, -1]), np.float32([1, -1, 0])
    dys = jax.tree.map(np.float32, (normal(8, 4, 3), normal(3), normal(3)))

    def pulled(dtype):
        f = ops.batch_norm if dtype == np.float32 else batch_norm_reference
        arrays, dy = jax.tree.map(
            lambda a: jnp.asarray(a, dtype), ((x, scale, offset), dys)
        )
        return value_and_pullback(lambda *a: f(*a, 1e-12), arrays, dy)

    found, wanted = (jax.tree.leaves(pulled(dtype)) for dtype in (np.float32, np.float64))
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(b).max())
