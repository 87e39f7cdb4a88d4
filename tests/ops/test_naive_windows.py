"""Convolutions, pools and columns against loops over every index, in float64."""

import itertools

import jax
import numpy as np
import pytest

from funcnn import ops
from tests.support import naive
from tests.support.against_loops import RNG, check, normals
from tests.support.combinations import combinations, thinned

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


@thinned("size, k, stride, dilation, padding", GEOMETRIES[::7], quick=4)
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


@thinned("size, k, stride, dilation, padding", GEOMETRIES[::11], quick=3)
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


@combinations("name, ties", POOLS, [False, True], quick=5)
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
