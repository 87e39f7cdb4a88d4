"""Norms of what does not vary, of one number, of none, and of last digits."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import ops
from funcnn.ops._batch_norm import batch_norm_reference
from funcnn.ops._group_norm import group_norm_reference
from tests.support.combinations import combinations
from tests.support.hard_points import (
    ROUNDING,
    accumulated,
    close,
    normal,
    value_and_pullback,
    wide,
    zeros,
)

LEVELS = [0.0, 3.0, -128.0]
PRECISIONS = ["bfloat16", "float32", "float64"]


@combinations("level, dtype", LEVELS, PRECISIONS, quick=2)
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


@combinations("level, dtype", LEVELS, PRECISIONS, quick=2)
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


@combinations("level, dtype", LEVELS, PRECISIONS, quick=2)
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


@combinations("shape, dtype", [(3,), (1, 3), (1, 1, 1, 3)], PRECISIONS, quick=2)
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
