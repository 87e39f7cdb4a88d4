"""Faults told from the pattern in which cotangents are wrong: each planted, and none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn.verify.faults._diagnosis import likely_fault, shape_fault

RNG = np.random.default_rng(0)
X, SCALE, OFFSET = (RNG.standard_normal(shape) for shape in ((4, 6), 6, 6))
W, V = RNG.standard_normal((2, 6, 6))
SIX = RNG.standard_normal((6, 6))
ROW = RNG.standard_normal(8)


def diagnose(f, args, bwd, leaf=0, count=5, names="xyz"):
    """What is said of `bwd(args, dys)`, the cotangents made by a rule for `f`."""
    args = [np.asarray(a, float) for a in args]
    names = list(names[: len(args)])
    ys = jax.tree.leaves(f(*args))
    sizes = 10.0 ** RNG.uniform(-2, 2, count)
    dys = [
        np.stack([s * RNG.standard_normal(y.shape) for s in sizes]).reshape(count, *y.shape)
        for y in ys
    ]
    tree = jax.tree.structure(f(*args))

    def right(*dys):
        return jax.vjp(f, *args)[1](jax.tree.unflatten(tree, dys))

    want = [np.asarray(a) for a in jax.vmap(right)(*dys)]
    rows = [bwd(args, [dy[k] for dy in dys], [w[k] for w in want]) for k in range(count)]
    got = [np.stack([np.asarray(row[i], float) for row in rows]) for i in range(len(args))]
    outputs = ["the output"] if len(ys) == 1 else [f"output {i}" for i in range(len(ys))]
    values = dict(zip(names, args, strict=True)) | dict(zip(outputs, ys, strict=True))
    return likely_fault(got, want, leaf, names, values, dys)


def change(i, how):
    """A rule whose cotangent `i` is `how(right)`."""
    return lambda args, dys, want: [*want[:i], how(want[i]), *want[i + 1 :]]


def mean(a, axis=-1):
    return a.mean(axis, keepdims=True)


def layer_norm(x, scale, offset):
    return scale * normalised(x) + offset


def normalised(x):
    return (x - mean(x)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-3)


def layer_norm_rule(dx):
    def bwd(args, dys, want):
        x, scale, _ = args
        r = 1 / np.sqrt(x.var(-1, keepdims=True) + 1e-3)
        return [dx((x - mean(x)) * r, r, scale * dys[0]), *want[1:]]

    return bwd


def dense(x, weight, bias):
    return x @ weight + bias


def flip(axes):
    return change(1, lambda dw: np.flip(dw, axes))


NORM = (layer_norm, (X, SCALE, OFFSET))
DENSE = (dense, (X, W, OFFSET))
PRODUCT = (jnp.matmul, (SIX, W))
KERNEL = (lambda x, k: x * k, (RNG.standard_normal((2, 3, 3, 2)), SIX.reshape(2, 3, 3, 2)))

PLANTED = {
    "zero": (*DENSE, 2, change(2, np.zeros_like), "it is zero"),
    "not zero": (
        lambda x, y: x + 0 * y, (X, X), 1, change(1, np.ones_like), "it should be zero",
    ),
    "sign": (*DENSE, 1, change(1, np.negative), "the sign is wrong"),
    "swapped": (
        *PRODUCT, 0, lambda a, dys, want: want[::-1],
        "the cotangents of x and y are swapped",
    ),
    "that of another": (
        *PRODUCT, 1, lambda a, dys, want: [want[0]] * 2, "it is that of x",
    ),
    "passed through": (
        lambda x: jnp.tanh(x), (X,), 0, lambda a, dys, want: dys,
        "it is the cotangent of the output, passed straight through",
    ),
    "reversed sign": (
        lambda x: jnp.tanh(x), (X,), 0, lambda a, dys, want: [-dys[0]],
        "it is the cotangent of the output, passed through with its sign changed",
    ),
    "transposed": (*DENSE, 1, change(1, np.transpose), "it is transposed"),
    "permuted": (
        lambda x: x**3, (RNG.standard_normal((3, 3, 3)),), 0,
        change(0, lambda d: d.transpose(1, 2, 0)),
        "its axes are in the order (1, 2, 0), should be (0, 1, 2)",
    ),
    "reversed": (*DENSE, 1, flip(1), "it is reversed along axis 1"),
    "reversed twice": (*DENSE, 1, flip((0, 1)), "it is reversed along axes 0 and 1"),
    "rolled": (
        *DENSE, 2, change(2, lambda d: np.roll(d, 1)), "it is shifted by one along axis 0",
    ),
    "shifted": (
        *DENSE, 0, change(0, lambda d: np.pad(d[:, 1:], ((0, 0), (0, 1)))),
        "it is shifted by one along axis 1",
    ),
    "symmetric": (
        *PRODUCT, 0, change(0, lambda d: (d + d.T) / 2), "it is made symmetric",
    ),
    "levelled": (
        *DENSE, 1, change(1, lambda d: mean(d, 0) + 0 * d),
        "each element is the mean of those along axis 0",
    ),
    "averaged": (
        *DENSE, 2, change(2, lambda d: d / 4),
        "a constant factor of 1/4, 4 being the size of axis 0 of x",
    ),
    "of all axes": (
        *KERNEL, 1, change(1, lambda d: 18 * d),
        "a constant factor of 18, 18 being the size of axes 0, 1 and 2 together",
    ),
    "scaled twice": (
        *DENSE, 0, change(0, lambda d: -d / 6**0.5),
        "a constant factor of -1/sqrt(6), 6 being the size of axis 1",
    ),
    "half": (*PRODUCT, 0, change(0, lambda d: d / 2), "a constant factor of 1/2"),
    "three sixteenths": (
        *DENSE, 0, change(0, lambda d: -d * 3 / 16), "a constant factor of -3/16",
    ),
    "half or a root": (
        *DENSE, 0, change(0, lambda d: d / 2),
        "a constant factor of 1/2 or 1/sqrt(4), 4 being the size of axis 0",
    ),
    "unbiased": (
        lambda x: x.var(-1), (X,), 0, change(0, lambda d: d * 6 / 5),
        "a constant factor of 6/(6 - 1), 6 being the size of axis 1",
    ),
    "pi": (
        *DENSE, 0, change(0, lambda d: d * (2 * np.pi) ** 0.5),
        "a constant factor of sqrt(2 pi)",
    ),
    "factor": (*DENSE, 0, change(0, lambda d: 0.7321 * d), "a constant factor of 0.7321"),
    "almost": (
        *DENSE, 0, change(0, lambda d: (1 - 3e-8) * d), "a constant factor of 1 - 3e-08",
    ),
    "scale missing": (
        lambda x, y: x * y, (X, SCALE), 0, lambda a, dys, want: [dys[0] / a[1], want[1]],
        "a factor of y squared is missing",
    ),
    "scale twice": (
        lambda x, y: jnp.sin(x) * y, (X, SCALE), 0, change(0, lambda d: d * SCALE),
        "a factor of y too many",
    ),
    "temperature": (
        lambda x, y: jnp.tanh(x / y), (X, 0.7), 0, change(0, lambda d: d * 0.7),
        "a factor of y too many",
    ),
    "per row": (
        lambda x, y: jnp.sin(x) * y[:, None], (X, SCALE[:4]), 0,
        change(0, lambda d: d / SCALE[:4, None]), "a factor of y is missing",
    ),
    "output": (
        lambda x: jnp.exp(x) - 1, (X,), 0, change(0, lambda d: 3 * d * np.expm1(X)),
        "a factor of the output too many, beside a constant factor of 3",
    ),
    "other value": (
        jnp.tanh, (X,), 0, lambda a, dys, want: [dys[0] * (1 - a[0] ** 2)],
        "it is the cotangent of the output times 1 - x squared, should be times 1 - the "
        "output squared",
    ),
    "matrix": (
        *PRODUCT, 0, lambda a, dys, want: [dys[0] @ a[1], want[1]],
        "y, by which the cotangent of the output is multiplied, should be transposed",
    ),
    "matrix on the left": (
        *PRODUCT, 1, lambda a, dys, want: [want[0], a[0] @ dys[0]],
        "x, by which the cotangent of the output is multiplied, should be transposed",
    ),
    "last row": (
        *DENSE, 2, lambda a, dys, want: [*want[:2], dys[0][-1]],
        "the cotangent of the output is not summed over axis 0: this is what the last "
        "entry contributes",
    ),
    "first example": (
        *DENSE, 1, lambda a, dys, want: [want[0], np.outer(a[0][0], dys[0][0]), want[2]],
        "the cotangent of the output is not summed over axis 0: this is what the first "
        "entry contributes",
    ),
    "other axis": (
        lambda x, y: x + y, (SIX, OFFSET), 1, lambda a, dys, want: [want[0], dys[0].sum(1)],
        "the cotangent of the output is summed over axis 1, should be over axis 0",
    ),
    "output ignored": (
        lambda x: (jnp.sin(x), x.sum()), (X,), 0,
        lambda a, dys, want: [dys[0] * np.cos(a[0])],
        "the cotangent of output 1 is ignored",
    ),
    "outputs swapped": (
        lambda x: (jnp.sin(x), x**2), (X,), 0,
        lambda a, dys, want: [dys[1] * np.cos(a[0]) + 2 * dys[0] * a[0]],
        "the cotangent of output 0 and the cotangent of output 1 are swapped",
    ),
    "part of an output": (
        lambda x: (jnp.sin(x), x**2), (X,), 0,
        lambda a, dys, want: [dys[0] * np.cos(a[0]) + dys[1] * a[0]],
        "the part of the cotangent of output 1 is wrong",
    ),
    "part of a mixing output": (
        lambda x: (jax.nn.softmax(x), x.sum()), (X,), 0,
        lambda a, dys, want: [want[0] - dys[1]],
        "the part of the cotangent of output 1 is missing or wrong",
    ),
    "part of one of three": (
        lambda x: (normalised(x), x.mean(0), x.var(0)), (X,), 0,
        lambda a, dys, want: [want[0] - dys[2] * (a[0] - mean(a[0], 0)) / 2],
        "the part of the cotangent of output 2 is missing or wrong",
    ),
    "float32": (
        *DENSE, 0, change(0, lambda d: d.astype(np.float32)), "it is rounded to float32",
    ),
    "one element": (
        lambda x: jnp.sin(x), (RNG.standard_normal(10_000),), 0,
        change(0, lambda d: np.where(np.arange(10_000) == 77, 0, d)),
        "one element of 10000 is wrong: it is zero",
    ),
    "some elements": (
        *DENSE, 1, change(1, lambda d: np.where(SIX > 1, 3 * d, d)),
        f"{(SIX > 1).sum()} of 36 elements are wrong: a constant factor of 3",
    ),
    "row": (
        *DENSE, 1, change(1, lambda d: np.where(np.arange(6)[:, None] == 3, d[::-1], d)),
        "it is wrong only in row 3 along axis 0",
    ),
    "all but a row": (
        *DENSE, 1, change(1, lambda d: np.where(np.arange(6) == 5, d, d @ d)),
        "it is wrong except in row 5 along axis 1",
    ),
    "triangle": (
        *PRODUCT, 1, change(1, np.tril), "it is wrong only above the diagonal: it is zero",
    ),
    "negative side": (
        lambda x: jnp.where(x > 0, x, 0.1 * x), (X,), 0,
        change(0, lambda d: np.where(X > 0, d, d / 3)),
        "it is wrong only where x is negative: a constant factor of 1/3",
    ),
    "tails": (
        lambda x: jnp.where(abs(x) > 0.9, abs(x), x**2), (X,), 0,
        change(0, lambda d: np.where(abs(X) > 0.9, d * np.sqrt(1.7 + X**2), d)),
        "it is wrong only where the absolute value of x is above 0.84",
    ),
    "sorted": (
        jnp.sort, (ROW,), 0, lambda a, dys, want: [dys[0][np.argsort(ROW)]],
        "the right numbers are in the wrong order along axis 0",
    ),
    "right sum": (
        lambda x: jnp.interp(jnp.array([0.3, 2.6, 4.1]), jnp.arange(8.0), x), (ROW,), 0,
        lambda a, dys, want: [np.array([*np.insert(dys[0], (1, 2), 0), 0, 0, 0])],
        "it is put at the wrong places along axis 0: its sum is right",
    ),
    "constant term": (
        lambda x: x * x.sum(), (ROW,), 0, lambda a, dys, want: [dys[0] * a[0].sum()],
        "a constant term is missing or wrong",
    ),
    "mean": (
        *NORM, 0, layer_norm_rule(lambda xhat, r, g: r * (g - xhat * mean(g * xhat))),
        "a term that is constant along axis 1 is missing or wrong, as of a mean",
    ),
    "softmax": (
        jax.nn.softmax, (X,), 0,
        lambda a, dys, want: [np.asarray(jax.nn.softmax(a[0])) * dys[0]],
        "a term proportional to the output is missing or wrong, in each row along axis 1, "
        "as of a mean of products",
    ),
    "scaled softmax": (
        lambda x, y: jax.nn.softmax(x * y), (X, SCALE), 0,
        lambda a, dys, want: [
            a[1] * np.asarray(jax.nn.softmax(a[0] * a[1])) * dys[0], want[1],
        ],
        "a term proportional to the product of y and the output is missing or wrong, in "
        "each row along axis 1, as of a mean of products",
    ),
    "log softmax": (
        jax.nn.log_softmax, (X,), 0,
        lambda a, dys, want: [dys[0] - np.asarray(jax.nn.softmax(a[0])) * mean(dys[0])],
        "a term proportional to exp(x) is missing or wrong, in each row along axis 1, as "
        "of a mean of products",
    ),
    "norm": (
        lambda x: x / jnp.linalg.norm(x), (ROW,), 0,
        lambda a, dys, want: [dys[0] / np.linalg.norm(a[0])],
        "a term proportional to x is missing or wrong",
    ),
    "residual": (
        lambda x: x + jnp.sin(x), (X,), 0, lambda a, dys, want: [dys[0] * np.cos(a[0])],
        "the cotangent of the output is to be added",
    ),
    "residual too many": (
        lambda x: jnp.sin(x), (X,), 0, lambda a, dys, want: [dys[0] * (1 + np.cos(a[0]))],
        "the cotangent of the output is added and should not be",
    ),
    "statistics": (
        *NORM, 0, layer_norm_rule(lambda xhat, r, g: r * g),
        "terms constant and proportional to x along axis 1 are missing or wrong, as of a "
        "mean and a variance",
    ),
    "not linear": (
        *DENSE, 0, lambda a, dys, want: [want[0] * abs(dys[0]).max(), *want[1:]],
        "the factor differs between cotangents of the output: the rule is not linear",
    ),
    "not finite": (
        *DENSE, 0, change(0, lambda d: np.where(X.max() == X, np.nan, d)),
        "it is not finite in 1 of 24 elements, though it should be",
    ),
    "nowhere finite": (
        *DENSE, 0, change(0, lambda d: d / 0.0), "it is not finite, though it should be",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_told(fault):
    f, args, leaf, bwd, said = PLANTED[fault]
    with np.errstate(divide="ignore", invalid="ignore"):
        assert diagnose(f, args, bwd, leaf) == said


def test_more_than_one_pattern_in_a_large_array():
    x = RNG.standard_normal(20_000)
    args = (lambda x, y: jnp.sin(x) * y, (x, 1.5 + np.tanh(x)))
    factor = change(0, lambda d: d / (1.5 + np.tanh(x)))
    assert diagnose(*args, factor) == "a factor of y is missing"
    assert diagnose(*args, change(0, lambda d: d / 3)) == "a constant factor of 1/3"
    three = np.isin(np.arange(20_000), (7, 700, 7000))
    assert (
        diagnose(*args, change(0, lambda d: np.where(three, 2 * d, d)))
        == "it is wrong only in elements 7, 700 and 7000: a constant factor of 2"
    )


def test_one_cotangent_may_be_all_there_is():
    def said(how):
        return diagnose(*DENSE, change(1, how), 1, count=1)

    assert said(np.negative) == "the sign is wrong"
    assert said(np.transpose) == "it is transposed"
    assert said(lambda d: 2 / 7 * d) == "a constant factor of 2/7"
    assert said(lambda d: RNG.standard_normal(d.shape)) is None


RIGHT = {"dense": DENSE, "layer norm": NORM, "product": PRODUCT, "kernel": KERNEL}


@pytest.mark.parametrize("size", [1e-16, 1e-13, 1e-9, 1e-3, 1.0])
@pytest.mark.parametrize("f", RIGHT)
def test_nothing_is_told_of_noise(f, size):
    def noisy(args, dys, want):
        return [w * (1 + size * RNG.standard_normal(w.shape)) for w in want]

    function, args = RIGHT[f]
    for leaf in range(len(args)):
        assert diagnose(function, args, noisy, leaf) is None


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("f", RIGHT)
def test_nothing_is_told_of_what_has_no_pattern(f, seed):
    rng = np.random.default_rng(seed)
    function, args = RIGHT[f]
    for leaf, a in enumerate(args):
        mix = rng.standard_normal((a.size, a.size))  # linear, and wrong everywhere
        some = rng.uniform(size=a.shape) < 0.5
        mixed = change(leaf, lambda d, m=mix: (m @ d.ravel()).reshape(d.shape))
        partly = change(leaf, lambda d, m=mix, s=some: np.where(s, d.ravel() @ m[0], d))
        assert diagnose(function, args, mixed, leaf) is None
        assert diagnose(function, args, partly, leaf) is None or a.ndim == 1


def test_a_value_of_one_number_a_row_explains_nothing():
    labels = np.eye(6)[[0, 3, 3, 5]]
    noise = RNG.standard_normal((4, 1))

    def loss(x, labels):
        return jnp.tanh(x) * (1 + labels)

    rule = change(0, lambda d: d + labels * noise * d.sum())
    assert diagnose(loss, (X, labels), rule) == "it is wrong only where y is positive"


def test_what_is_right_has_no_fault():
    assert diagnose(*DENSE, lambda args, dys, want: want) is None
    empty = np.zeros((0, 6))
    assert diagnose(dense, (empty, W, OFFSET), lambda args, dys, want: want) is None


def test_infinities_in_both_are_left_out():
    args = (np.where(X > 1, -np.inf, X),)
    twice = change(0, lambda d: np.where(np.isfinite(args[0]), 2 * d, np.inf))
    assert "not finite" in diagnose(lambda x: jnp.exp(x) * 2, args, twice)
    want = np.where(X > 1, np.inf, X)[None]
    said = likely_fault([5 * want], [want], 0, ["x"], {"x": X, "the output": X}, [want])
    assert said == "a constant factor of 5"


# --- shapes ---------------------------------------------------------------------------


def complaint(f, bwd, args, fwd=None):
    g = jax.custom_vjp(f)
    g.defvjp(fwd or (lambda *args: (f(*args), args)), bwd)
    with pytest.raises((TypeError, ValueError)) as raised:
        jax.eval_shape(lambda *args: jax.vjp(g, *args)[1](f(*args)), *args)
    return str(raised.value)


def shift(x, b):
    return x + b


SHAPES = {
    "too few axes": (
        shift, lambda r, dy: (dy, dy), (X, SCALE),
        "the cotangent is summed over too few axes: it is (4, 6), should be (6,)",
    ),
    "too many axes": (
        shift, lambda r, dy: (dy, dy.sum()), (X, SCALE),
        "the cotangent is summed over too many axes: it is (), should be (6,)",
    ),
    "axes kept": (
        shift, lambda r, dy: (dy, dy.sum(0, keepdims=True)), (X, SCALE),
        "the cotangent has other axes of size 1: it is (1, 6), should be (6,)",
    ),
    "transposed": (
        jnp.matmul, lambda r, dy: (dy @ r[1].T, dy.T @ r[0]), (X.T, X),
        "the cotangent is transposed: it is (6, 4), should be (4, 6)",
    ),
    "flat": (
        jnp.sin, lambda r, dy: (dy.ravel(),), (X,),
        "the cotangent is not reshaped: it is (24,), should be (4, 6)",
    ),
    "another": (
        jnp.sin, lambda r, dy: (dy[1:, 2:],), (X,),
        "the cotangent has another shape: it is (3, 4), should be (4, 6)",
    ),
    "too few cotangents": (
        shift, lambda r, dy: (dy,), (X, SCALE),
        "the backward rule returns 1 cotangents for 2 arguments",
    ),
    "too many cotangents": (
        jnp.sin, lambda r, dy: (dy, dy, dy), (X,),
        "the backward rule returns 3 cotangents for 1 arguments",
    ),
    "no tuple": (
        jnp.sin, lambda r, dy: dy, (X,),
        "the backward rule does not return a tuple, of a cotangent an argument",
    ),
    "another tree": (
        lambda p, x: p["w"] * p["b"][0] + x, lambda r, dy: ({"w": dy}, dy),
        ({"w": X, "b": (X,)}, X),
        "the cotangent of a tree has another structure than the tree",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", SHAPES)
def test_a_wrong_shape_is_told(fault):
    f, bwd, args, said = SHAPES[fault]
    assert shape_fault(complaint(f, bwd, args)) == said


def test_a_forward_rule_must_return_a_pair():
    message = complaint(jnp.sin, lambda r, dy: (dy,), (X,), fwd=jnp.sin)
    expected = "the forward rule does not return a pair, of the output and residuals"
    assert shape_fault(message) == expected
    assert shape_fault("no such thing") is None
