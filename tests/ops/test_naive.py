"""Every op and every rule against loops over every index, in float64."""

import itertools

import jax
import numpy as np
import pytest

from funcnn import ops
from tests.support import naive

RNG = np.random.default_rng


def check(op, forward, backward, *arrays, seed=0, rtol=1e-12, atol=1e-13):
    """Compare values and pullbacks; `forward` and `backward` are the naive ones.

    `backward(*arrays, dy)` returns a gradient for each array, or one for a single one.
    """
    y = forward(*arrays)
    dy = RNG(seed).standard_normal(np.shape(y))
    expected = backward(*arrays, dy)

    @jax.jit
    def value_and_gradients(arrays, dy):
        y, pullback = jax.vjp(op, *arrays)
        return y, pullback(dy)

    got, gradients = value_and_gradients(arrays, dy)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, y, rtol, atol, err_msg="the value")
    if len(arrays) == 1:
        expected = (expected,)
    for i, (g, e) in enumerate(zip(gradients, expected, strict=True)):
        assert (g is None) == (e is None)
        if e is not None:
            assert g.dtype == np.float64
            name = f"the gradient of argument {i}"
            np.testing.assert_allclose(g, e, rtol, atol, err_msg=name)


def check_bilinear(op, terms_and_shape, a, b):
    terms, shape = terms_and_shape
    check(
        op,
        lambda a, b: naive.bilinear(terms, a, b, shape),
        lambda a, b, dy: naive.bilinear_grad(terms, a, b, dy),
        a,
        b,
    )


def normals(*shapes, seed=1):
    rng = RNG(seed)
    return tuple(None if s is None else rng.standard_normal(s) for s in shapes)


# Products


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [(), (1,), (5,), (3, 4), (2, 1, 3), (0,), (2, 0)])
def test_dense(rows, bias):
    x, weight, b = normals((*rows, 5), (5, 3), (3,) if bias else None)
    check(ops.dense, naive.dense, naive.dense_grad, x, weight, b)


@pytest.mark.parametrize(("m", "n"), [(1, 1), (1, 7), (7, 1), (0, 3)])
def test_dense_of_odd_widths(m, n):
    x, weight, b = normals((4, m), (m, n), (n,))
    check(ops.dense, naive.dense, naive.dense_grad, x, weight, b)


MATMUL = [
    ((4,), (4,)),
    ((4,), (4, 3)),
    ((2, 4), (4,)),
    ((2, 4), (4, 3)),
    ((1, 4), (4, 1)),
    ((3, 1), (1, 5)),
    ((5, 2, 4), (5, 4, 3)),
    ((5, 2, 4), (4, 3)),
    ((2, 4), (5, 4, 3)),
    ((1, 2, 4), (5, 4, 3)),
    ((5, 2, 4), (1, 4, 3)),
    ((2, 1, 2, 4), (3, 4, 2)),
    ((3, 2, 4), (2, 1, 4, 2)),
    ((2, 3, 1, 4), (2, 1, 4, 1)),
    ((4,), (5, 4, 3)),
    ((5, 2, 4), (4,)),
    ((0, 2, 4), (0, 4, 3)),
    ((0, 4), (4, 3)),
    ((1, 2, 4), (0, 4, 3)),
    ((2, 0), (0, 3)),
]


@pytest.mark.parametrize(("a", "b"), MATMUL, ids=str)
def test_matmul(a, b):
    a, b = normals(a, b)
    check_bilinear(ops.matmul, naive.matmul_terms(a, b), a, b)


DOT = [
    ((), ()),
    ((), (3,)),
    ((2, 3), ()),
    ((4,), (4,)),
    ((4,), (4, 3)),
    ((2, 4), (4,)),
    ((2, 4), (4, 3)),
    ((2, 3, 4), (4,)),
    ((4,), (2, 4, 3)),
    ((2, 3, 4), (5, 4, 2)),
    ((0, 4), (4, 3)),
    ((2, 0), (0, 3)),
]


@pytest.mark.parametrize(("a", "b"), DOT, ids=str)
def test_dot(a, b):
    a, b = normals(a, b)
    check_bilinear(ops.dot, naive.dot_terms(a, b), a, b)


TENSORDOT = [
    ((2, 3), (4,), 0),
    ((2, 3), (3, 4), 1),
    ((2, 3, 4), (3, 4, 5), 2),
    ((2, 3), (2, 3), 2),
    ((2, 3, 4), (4, 5, 2), ((0, 2), (2, 0))),
    ((2, 3, 4), (4, 5, 2), ((2, 0), (0, 2))),
    ((2, 3, 4), (4, 5, 2), ((-1, -3), (0, -1))),
    ((2, 3, 4), (5, 3), (1, 1)),
    ((2, 3, 4), (5, 3), (-2, -1)),
    ((2, 3, 4), (5, 3), ((1,), (1,))),
    ((2, 3, 4), (2, 5), ((0,), (0,))),
    ((2, 3), (4, 2), ((), ())),
    ((3, 2, 4), (4, 3, 2), ((0, 1, 2), (1, 2, 0))),
    ((0, 3), (3, 4), 1),
    ((2, 0), (0, 4), 1),
]


@pytest.mark.parametrize(("a", "b", "axes"), TENSORDOT, ids=str)
def test_tensordot(a, b, axes):
    a, b = normals(a, b)

    def op(a, b):
        return ops.tensordot(a, b, axes)

    check_bilinear(op, naive.tensordot_terms(a, b, axes), a, b)


# Windows

PADDINGS = ("SAME", "VALID", 2, ((1, 3),), ((2, 0),))
# Seven is coprime to every factor's length, so each value of each meets the others'.
GEOMETRIES = list(itertools.product((7, 8), (1, 2, 3), (1, 2, 5), (1, 2, 3), PADDINGS))


def check_conv(x, weight, bias=True, **options):
    x, weight, b = normals(x, weight, weight[-1:] if bias else None)
    check(
        lambda *arrays: ops.conv(*arrays, **options),
        lambda *arrays: naive.conv(*arrays, **options),
        lambda *arrays: naive.conv_grad(*arrays, **options),
        x,
        weight,
        b,
    )


@pytest.mark.parametrize(("size", "k", "stride", "dilation", "padding"), GEOMETRIES[::7])
def test_conv_over_one_axis(size, k, stride, dilation, padding):
    check_conv((2, size, 2), (k, 2, 3), stride=stride, dilation=dilation, padding=padding)


CONV = {
    "as it comes": ((2, 5, 6, 2), (3, 3, 2, 3), {}),
    "no bias": ((2, 5, 6, 2), (3, 3, 2, 3), {"bias": False}),
    "valid": ((2, 5, 6, 2), (3, 2, 2, 3), {"padding": "VALID"}),
    "even kernel": ((1, 5, 6, 2), (2, 4, 2, 3), {}),
    "kernel 1": ((2, 4, 3, 2), (1, 1, 2, 3), {}),
    "kernel 1, stride 2": ((2, 4, 5, 2), (1, 1, 2, 3), {"stride": 2}),
    "strides": ((2, 7, 6, 2), (3, 2, 2, 2), {"stride": (2, 3)}),
    "stride beyond kernel": ((1, 9, 8, 2), (2, 2, 2, 2), {"stride": (4, 3)}),
    "stride beyond image": ((1, 4, 5, 2), (3, 3, 2, 2), {"stride": 7}),
    "dilations": ((1, 7, 9, 2), (3, 2, 2, 2), {"dilation": (2, 3)}),
    "dilation and stride": ((1, 8, 9, 1), (3, 3, 1, 2), {"dilation": 2, "stride": 3}),
    "dilation beyond image": ((1, 3, 3, 1), (3, 3, 1, 2), {"dilation": 4}),
    "int padding": ((1, 5, 4, 2), (3, 2, 2, 2), {"padding": 1}),
    "wide padding": ((1, 3, 4, 2), (2, 2, 2, 2), {"padding": 4, "stride": 3}),
    "pairs": ((1, 5, 4, 2), (3, 2, 2, 2), {"padding": ((0, 2), (3, 1))}),
    "pairs, all at once": (
        (2, 7, 6, 2),
        (3, 2, 2, 3),
        {"padding": ((4, 0), (1, 2)), "stride": (3, 2), "dilation": (1, 3)},
    ),
    "kernel of the image": ((2, 4, 3, 2), (4, 3, 2, 5), {"padding": "VALID"}),
    "kernel beyond image": ((2, 2, 3, 2), (5, 4, 2, 2), {}),
    "rows left over": ((1, 8, 9, 1), (3, 3, 1, 1), {"padding": "VALID", "stride": 4}),
    "two groups": ((2, 5, 4, 4), (3, 2, 2, 6), {"groups": 2}),
    "three groups, strided": ((1, 5, 6, 6), (2, 3, 2, 3), {"groups": 3, "stride": 2}),
    "depthwise": ((2, 5, 4, 3), (3, 3, 1, 3), {"groups": 3}),
    "depthwise, multiplier 2": (
        (1, 6, 5, 3),
        (3, 2, 1, 6),
        {"groups": 3, "stride": 2, "dilation": 2},
    ),
    "depthwise, dilated pairs": (
        (1, 6, 5, 2),
        (2, 3, 1, 2),
        {"groups": 2, "dilation": 2, "padding": ((1, 0), (2, 3))},
    ),
    "one pixel": ((3, 1, 1, 2), (3, 3, 2, 2), {}),
    "empty batch": ((0, 5, 4, 2), (3, 3, 2, 3), {}),
    "empty batch, groups": ((0, 5, 4, 4), (3, 3, 2, 2), {"groups": 2, "stride": 2}),
    "one axis, groups": ((2, 7, 4), (3, 2, 4), {"groups": 2, "stride": 2}),
    "one axis, depthwise": ((2, 7, 3), (4, 1, 3), {"groups": 3, "dilation": 2}),
    "three axes": ((1, 3, 4, 5, 2), (2, 3, 2, 2, 2), {}),
    "three axes, all at once": (
        (2, 4, 3, 5, 2),
        (2, 1, 3, 1, 4),
        {
            "stride": (2, 1, 3),
            "dilation": (1, 2, 2),
            "padding": ((1, 0), (0, 2), (2, 3)),
            "groups": 2,
        },
    ),
    "three axes, valid": (
        (1, 4, 3, 5, 1),
        (2, 3, 2, 1, 2),
        {"padding": "VALID", "stride": (3, 1, 2)},
    ),
}


@pytest.mark.parametrize("name", CONV)
def test_conv(name):
    x, weight, options = CONV[name]
    check_conv(x, weight, **options)


def check_conv_transpose(x, weight, **options):
    check(
        lambda *arrays: ops.conv_transpose(*arrays, **options),
        lambda *arrays: naive.conv_transpose(*arrays, **options),
        lambda *arrays: naive.conv_transpose_grad(*arrays, **options),
        *normals(x, weight, weight[-1:]),
    )


@pytest.mark.parametrize(("size", "k", "stride", "dilation", "padding"), GEOMETRIES[::11])
def test_conv_transpose_over_one_axis(size, k, stride, dilation, padding):
    options = {"stride": stride, "dilation": dilation, "padding": padding}
    check_conv_transpose((2, size, 2), (k, 2, 3), **options)


CONV_TRANSPOSE = {
    "as it comes": ((2, 3, 4, 2), (3, 3, 2, 3), {}),
    "doubled": ((2, 3, 4, 2), (2, 2, 2, 3), {"stride": 2}),
    "stride beyond kernel": ((1, 3, 2, 2), (2, 1, 2, 3), {"stride": (3, 4)}),
    "valid": ((1, 3, 2, 2), (3, 2, 2, 3), {"stride": (2, 3), "padding": "VALID"}),
    "pairs": ((1, 4, 3, 2), (3, 2, 2, 2), {"padding": ((0, 2), (3, 1)), "stride": 2}),
    "dilations": ((1, 4, 3, 1), (3, 2, 1, 2), {"dilation": (2, 3), "stride": 2}),
    "three axes": ((1, 2, 3, 2, 2), (2, 1, 3, 2, 1), {"stride": (1, 2, 3)}),
}


@pytest.mark.parametrize("name", CONV_TRANSPOSE)
def test_conv_transpose(name):
    x, weight, options = CONV_TRANSPOSE[name]
    check_conv_transpose(x, weight, **options)


TRANSPOSED = list(itertools.product((1, 2, 5), (1, 2, 3, 4), (1, 2, 3, 5), (1, 2)))
SPREAD = pytest.mark.parametrize("padding", ["SAME", "VALID", ((1, 0),), ((0, 3),)])


def transposed_twice(padding, n, k, s, d):
    """Shapes, and the same op of ours and of JAX."""
    shapes = (2, n, 3), (k, 3, 2)

    def ours(x, weight):
        return ops.conv_transpose(x, weight, None, s, padding, d)

    def theirs(x, weight):
        numbers = ("NHC", "HIO", "NHC")
        return jax.lax.conv_transpose(
            x, weight, (s,), padding, (d,), dimension_numbers=numbers
        )

    return shapes, ours, theirs


def transposed_are_those_of_jax(padding, geometries):
    @jax.jit
    def both(arrays):
        return [
            (ours(*a), theirs(*a))
            for a, (_, ours, theirs) in zip(arrays, pairs, strict=True)
        ]

    pairs = [transposed_twice(padding, *geometry) for geometry in geometries]
    for got, want in both([normals(*shapes) for shapes, _, _ in pairs]):
        np.testing.assert_allclose(got, want, 1e-12, 1e-12)


@SPREAD
def test_conv_transpose_is_that_of_jax(padding):
    """In the shapes of all geometries, and in the numbers of some of each kind."""
    some = []
    for geometry in TRANSPOSED:
        shapes, ours, theirs = transposed_twice(padding, *geometry)
        given = [jax.ShapeDtypeStruct(shape, float) for shape in shapes]
        want = jax.eval_shape(theirs, *given)
        if want.size:
            some.append(geometry)
            assert jax.eval_shape(ours, *given).shape == want.shape
    transposed_are_those_of_jax(padding, some[::11])  # coprime to each factor's length


@pytest.mark.exhaustive
@SPREAD
@pytest.mark.parametrize("n", [1, 2, 5])
def test_conv_transpose_is_that_of_jax_in_numbers(padding, n):
    of_size = [geometry for geometry in TRANSPOSED if geometry[0] == n]
    filled = [
        (n, k, s, d)
        for n, k, s, d in of_size
        if jax.eval_shape(
            transposed_twice(padding, n, k, s, d)[2],
            jax.ShapeDtypeStruct((2, n, 3), float),
            jax.ShapeDtypeStruct((k, 3, 2), float),
        ).size
    ]
    transposed_are_those_of_jax(padding, filled)


POOLS = {
    "one axis": ((2, 7, 2), 3, {}),
    "one axis, overlapping": ((2, 8, 2), (3,), {"stride": 2}),
    "one axis, same": ((2, 7, 2), 3, {"stride": 2, "padding": "SAME"}),
    "two axes": ((2, 4, 6, 3), 2, {}),
    "left over": ((2, 5, 7, 2), (2, 3), {}),
    "overlapping": ((2, 5, 6, 2), 3, {"stride": 1}),
    "strides": ((1, 7, 8, 2), (3, 2), {"stride": (2, 1)}),
    "stride beyond window": ((1, 9, 8, 2), 2, {"stride": (4, 3)}),
    "same": ((2, 5, 7, 2), 2, {"padding": "SAME"}),
    "same, overlapping": ((2, 5, 6, 2), (3, 4), {"stride": 2, "padding": "SAME"}),
    "int padding": ((1, 5, 6, 2), 3, {"stride": 2, "padding": 1}),
    "pairs": ((1, 5, 6, 2), (3, 4), {"stride": 2, "padding": ((0, 2), (3, 1))}),
    "window 1": ((1, 3, 4, 2), 1, {}),
    "window 1, strided": ((1, 3, 4, 2), 1, {"stride": 2}),
    "whole image": ((3, 4, 5, 2), (4, 5), {}),
    "empty batch": ((0, 4, 6, 2), 2, {}),
    "three axes": ((1, 4, 3, 5, 2), (2, 3, 2), {"stride": (1, 2, 3)}),
    "three axes, same": ((1, 3, 4, 3, 1), 2, {"padding": "SAME"}),
}


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize("name", POOLS)
def test_max_pool(name, ties):
    """On ties the first maximum, in row-major order of the window, takes it all."""
    shape, window, options = POOLS[name]
    (x,) = normals(shape)
    if ties:
        x = RNG(2).integers(-2, 1, shape).astype(np.float64)
    y, where = naive.max_pool(x, window, **options)
    check(
        lambda x: ops.max_pool(x, window, **options),
        lambda x: y,
        lambda x, dy: naive.max_pool_grad(x, where, dy),
        x,
    )


def test_max_pool_of_negative_numbers_ignores_the_padding():
    x = -1.0 - np.abs(normals((2, 5, 5, 2))[0])
    y, where = naive.max_pool(x, 3, 2, 1)
    assert np.isfinite(y).all()
    check(
        lambda x: ops.max_pool(x, 3, 2, 1),
        lambda x: y,
        lambda x, dy: naive.max_pool_grad(x, where, dy),
        x,
    )


def test_max_pool_of_more_taps_than_a_byte_counts():
    (x,) = normals((2, 140, 2))
    x[0, 137] = x[1, 3] = 9.0
    y, where = naive.max_pool(x, 139, 1)
    check(
        lambda x: ops.max_pool(x, 139, 1),
        lambda x: y,
        lambda x, dy: naive.max_pool_grad(x, where, dy),
        x,
    )


@pytest.mark.parametrize("name", POOLS)
def test_avg_pool(name):
    shape, window, options = POOLS[name]
    check(
        lambda x: ops.avg_pool(x, window, **options),
        lambda x: naive.avg_pool(x, window, **options),
        lambda x, dy: naive.avg_pool_grad(x, dy, window, **options),
        *normals(shape),
    )


COLUMNS = {
    "one axis": ((2, 7, 2), 3, {}),
    "one axis, dilated": ((2, 7, 2), (2,), {"dilation": 3, "padding": "VALID"}),
    "two axes": ((2, 4, 5, 3), (3, 2), {}),
    "even kernel": ((2, 4, 5, 1), (2, 4), {"stride": 2}),
    "valid": ((2, 5, 6, 2), 3, {"padding": "VALID", "stride": 2}),
    "stride beyond kernel": ((1, 8, 9, 2), 2, {"stride": (3, 4), "padding": "VALID"}),
    "int padding": ((1, 4, 5, 2), (3, 2), {"padding": 2}),
    "pairs": (
        (1, 6, 5, 2),
        (2, 3),
        {"padding": ((0, 2), (3, 1)), "stride": (2, 1), "dilation": (3, 2)},
    ),
    "empty batch": ((0, 4, 5, 2), 3, {}),
    "three axes": ((1, 3, 4, 2, 2), (2, 3, 2), {"stride": (2, 1, 1)}),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_im2col(name):
    shape, kernel, options = COLUMNS[name]
    terms, out = naive.im2col_terms(shape, kernel, **options)
    check(
        lambda x: ops.im2col(x, kernel, **options),
        lambda x: naive.linear(terms, x, out),
        lambda x, dy: naive.linear_grad(terms, shape, dy),
        *normals(shape),
    )


@pytest.mark.parametrize("name", COLUMNS)
def test_col2im(name):
    shape, kernel, options = COLUMNS[name]
    terms, out = naive.im2col_terms(shape, kernel, **options)
    check(
        lambda columns: ops.col2im(columns, shape, kernel, **options),
        lambda columns: naive.linear_grad(terms, shape, columns),
        lambda columns, dy: naive.linear(terms, dy, out),
        *normals(out),
    )


# Rows


@pytest.mark.parametrize("eps", [1e-6, 0.3])
@pytest.mark.parametrize("shape", [(5,), (1, 2), (4, 3), (2, 3, 7), (3, 1), (0, 4)])
def test_layer_norm(shape, eps):
    width = shape[-1:]
    check(
        lambda *arrays: ops.layer_norm(*arrays, eps),
        lambda *arrays: naive.layer_norm(*arrays, eps=eps),
        lambda *arrays: naive.layer_norm_grad(*arrays, eps=eps),
        *normals(shape, width, width),
    )


@pytest.mark.parametrize("eps", [1e-6, 0.3])
@pytest.mark.parametrize("shape", [(5,), (1, 2), (4, 3), (2, 3, 7), (3, 1), (0, 4)])
def test_rms_norm(shape, eps):
    check(
        lambda *arrays: ops.rms_norm(*arrays, eps),
        lambda *arrays: naive.rms_norm(*arrays, eps=eps),
        lambda *arrays: naive.rms_norm_grad(*arrays, eps=eps),
        *normals(shape, shape[-1:]),
    )


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("shape", [(2, 5, 4), (1, 3, 2, 4), (2, 2, 1, 3, 4), (0, 2, 4)])
def test_group_norm(shape, groups):
    check(
        lambda *arrays: ops.group_norm(*arrays, groups, 0.3),
        lambda *arrays: naive.group_norm(*arrays, groups=groups, eps=0.3),
        lambda *arrays: naive.group_norm_grad(*arrays, groups=groups, eps=0.3),
        *normals(shape, (4,), (4,)),
    )


@pytest.mark.parametrize("eps", [1e-6, 0.3])
@pytest.mark.parametrize("shape", [(5, 3), (1, 4), (2, 3, 2), (2, 2, 3, 2), (7, 1)])
def test_batch_norm(shape, eps):
    def op(*arrays):
        outputs = ops.batch_norm(*arrays, eps)
        return jax.numpy.concatenate([a.ravel() for a in outputs])

    check(
        op,
        lambda *arrays: naive.batch_norm(*arrays, eps=eps),
        lambda *arrays: naive.batch_norm_grad(*arrays, eps=eps),
        *normals(shape, shape[-1:], shape[-1:]),
    )


SOFTMAX = [
    ((5,), -1),
    ((1,), 0),
    ((3, 4), -1),
    ((3, 4), 0),
    ((2, 3, 4), 1),
    ((2, 3, 4), -3),
    ((3, 1), -1),
    ((0, 4), -1),
    ((4, 0), 0),
]


@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize(("shape", "axis"), SOFTMAX, ids=str)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmaxes(name, shape, axis, scale):
    op, forward = getattr(ops, name), getattr(naive, name)
    backward = getattr(naive, f"{name}_grad")

    def last(a):
        return np.moveaxis(a, axis, -1)

    check(
        lambda x: op(x, axis),
        lambda x: np.moveaxis(forward(last(x)), -1, axis),
        lambda x, dy: np.moveaxis(backward(last(x), last(dy)), -1, axis),
        scale * normals(shape)[0],
    )


# Losses

SHAPES = [(3,), (1, 4), (5, 3), (2, 3, 4), (3, 1), (0, 4), (2, 0, 3)]
CONSTANTS = [(0.0, 0.0), (0.1, 0.0), (0.0, 0.2), (1.0, 0.5)]
SMOOTHED = [(shape, 0.3, 1e-2) for shape in SHAPES] + [((5, 3), *c) for c in CONSTANTS]
GUARDED = [(shape, 1e-10) for shape in SHAPES] + [((5, 3), 0.1)]


@pytest.mark.parametrize(("shape", "smoothing", "z"), SMOOTHED, ids=str)
def test_softmax_cross_entropy_of_integers(shape, smoothing, z):
    labels = RNG(3).integers(0, shape[-1], shape[:-1])
    grad = naive.softmax_cross_entropy_grad
    check(
        lambda x: ops.softmax_cross_entropy(x, labels, smoothing, z),
        lambda x: naive.softmax_cross_entropy(x, labels, smoothing, z),
        lambda x, dy: grad(x, labels, dy, smoothing, z)[0],
        3 * normals(shape)[0],
    )


@pytest.mark.parametrize("total", [1.0, 2.5], ids=["sum to 1", "any sum"])
@pytest.mark.parametrize(("shape", "smoothing", "z"), SMOOTHED, ids=str)
def test_softmax_cross_entropy_of_probabilities(shape, smoothing, z, total):
    labels = RNG(3).random(shape) + 0.01
    labels *= total / labels.sum(-1, keepdims=True)
    grad = naive.softmax_cross_entropy_grad
    check(
        lambda x, q: ops.softmax_cross_entropy(x, q, smoothing, z),
        lambda x, q: naive.softmax_cross_entropy(x, q, smoothing, z),
        lambda x, q, dy: grad(x, q, dy, smoothing, z),
        3 * normals(shape)[0],
        labels,
    )


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("softcap", [None, 2.5])
@pytest.mark.parametrize(("shape", "smoothing", "z"), SMOOTHED, ids=str)
def test_linear_softmax_cross_entropy(shape, smoothing, z, softcap, bias):
    classes = shape[-1]
    x, weight, b = normals((*shape[:-1], 3), (3, classes), (classes,) if bias else None)
    labels = RNG(3).integers(-1, classes, shape[:-1])  # -1 is ignored
    constants = smoothing, z
    check(
        lambda x, w, b: ops.linear_softmax_cross_entropy(
            x, w, labels, b, *constants, softcap, -1
        ),
        lambda x, w, b: naive.linear_softmax_cross_entropy(
            x, w, b, labels, softcap, -1, *constants
        ),
        lambda x, w, b, dy: naive.linear_softmax_cross_entropy_grad(
            x, w, b, labels, softcap, -1, dy, *constants
        ),
        *(x, weight, b),
    )


@pytest.mark.parametrize(("shape", "eps"), GUARDED, ids=str)
def test_cross_entropy_of_integers(shape, eps):
    labels = RNG(3).integers(0, shape[-1], shape[:-1])
    check(
        lambda p: ops.cross_entropy(p, labels, eps),
        lambda p: naive.cross_entropy(p, labels, eps),
        lambda p, dy: naive.cross_entropy_grad(p, labels, dy, eps)[0],
        RNG(4).random(shape) + 0.01,
    )


@pytest.mark.parametrize(("shape", "eps"), GUARDED, ids=str)
def test_cross_entropy_of_probabilities(shape, eps):
    check(
        lambda p, q: ops.cross_entropy(p, q, eps),
        lambda p, q: naive.cross_entropy(p, q, eps),
        lambda p, q, dy: naive.cross_entropy_grad(p, q, dy, eps),
        RNG(4).random(shape) + 0.01,
        RNG(5).random(shape),
    )


@pytest.mark.parametrize("shape", [(), (4,), (3, 2), (0, 2)], ids=str)
def test_mse(shape):
    check(ops.mse, naive.mse, naive.mse_grad, *map(np.asarray, normals(shape, shape)))


# Activations

ACTIVATIONS = {
    "relu": [()],
    "leaky_relu": [(), (0.2,)],
    "elu": [(), (0.7,)],
    "sigmoid": [()],
    "tanh": [()],
    "silu": [()],
    "gelu": [(), (True,), (False,)],
    "softplus": [()],
}


@pytest.mark.parametrize(
    ("name", "constants"), [(name, c) for name, cs in ACTIVATIONS.items() for c in cs]
)
def test_activations(name, constants):
    """Beside normal numbers: large ones, tiny ones and both zeros."""
    f = getattr(naive, name)
    x = 3 * normals((41,))[0]
    x[:9] = 0.0, -0.0, 1e-9, -1e-9, 1e-300, 12.0, -12.0, 30.0, -30.0
    check(
        lambda x: getattr(ops, name)(x, *constants),
        lambda x: np.array([f(v, *constants)[0] for v in x.tolist()]),
        lambda x, dy: np.array([f(v, *constants)[1] for v in x.tolist()]) * dy,
        x,
    )


@pytest.mark.parametrize("shape", [(), (41,), (3, 2), (0, 2)], ids=str)
@pytest.mark.parametrize(
    ("name", "activation", "constants"),
    [("swiglu", "silu", ()), ("geglu", "gelu", ()), ("geglu", "gelu", (False,))],
)
def test_gates(name, activation, constants, shape):
    def f(x):
        return getattr(naive, activation)(x, *constants)

    gate, value = map(np.asarray, normals(shape, shape))
    check(
        lambda g, v: getattr(ops, name)(g, v, *constants),
        lambda g, v: naive.gated(f, g, v, np.ones(shape))[0],
        lambda g, v, dy: naive.gated(f, g, v, dy)[1:],
        3 * gate,
        value,
    )


# Embeddings


@pytest.mark.parametrize("ids", [(), (7,), (3, 4), (0, 2)], ids=str)
@pytest.mark.parametrize("table", [(5, 3), (1, 2), (4, 1), (40, 2), (3, 0)], ids=str)
def test_embed(table, ids):
    ids = np.asarray(RNG(3).integers(0, table[0], ids))
    check(
        lambda table: ops.embed(table, ids),
        lambda table: naive.embed(table, ids),
        lambda table, dy: naive.embed_grad(table, ids, dy),
        *normals(table),
    )


@pytest.mark.parametrize("base", [10000.0, 50.0])
@pytest.mark.parametrize("positions", [None, (3,), (2, 3)], ids=str)
@pytest.mark.parametrize("width", [2, 6, 8])
def test_rope(width, positions, base):
    given = None if positions is None else RNG(3).integers(-500, 500, positions)
    numbers = np.arange(3) if given is None else given
    check(
        lambda x: ops.rope(x, given, base),
        lambda x: naive.rope(x, numbers, base),
        lambda x, dy: naive.rope(dy, numbers, base, -1),
        *normals((2, 3, 2, width)),
    )


# Attention


@pytest.mark.parametrize("cap", [None, 1.5])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("heads", [(2, 2), (4, 2), (3, 1)], ids=str)
@pytest.mark.parametrize("lengths", [(1, 1), (3, 5), (4, 2), (0, 2), (2, 0)], ids=str)
def test_attention(lengths, heads, causal, cap):
    (t, s), (h, k) = lengths, heads
    sees = RNG(3).random((2, h, t, s)) < 0.7
    visible = sees & (np.arange(s) <= np.arange(t)[:, None]) if causal else sees

    def loops(q, k, v, bias, dy=None):
        dy = np.zeros((*q.shape[:3], 2)) if dy is None else dy
        return naive.attention(q, k, v, dy, visible, bias, 0.5, cap)

    check(
        lambda q, k, v, bias: ops.attention(q, k, v, sees, bias, causal, 0.5, softcap=cap),
        lambda *args: loops(*args)[0],
        lambda *args: loops(*args)[1],
        *normals((2, t, h, 3), (2, s, k, 3), (2, s, k, 2), (2, h, t, s)),
    )
