"""Pools of ties and of minus infinity."""

import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import ops
from tests.support.hard_points import (
    INF,
    close,
    value_and_pullback,
)

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
