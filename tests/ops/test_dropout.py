"""Dropout at both ends, its share, its mask and its key."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import layers, ops
from tests.support.hard_points import (
    DTYPES,
    INF,
    ROUNDING,
    close,
    normal,
    value_and_pullback,
    wide,
)

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


def test_dropout_takes_one_key():
    keys = jax.random.split(jax.random.key(0), 3)
    for rate in (0.0, 0.5):
        with pytest.raises(ValueError, match=r"dropout needs one key .*got shape \(3,\)"):
            ops.dropout(keys, jnp.ones(3), rate)


def test_a_rate_may_be_traced():
    """As a schedule's is: the draws are those of the same number, its gradient is 0."""
    key, x = jax.random.key(3), jnp.linspace(-1.0, 1.0, 24)
    rates = jnp.array([0.0, 0.25, 0.5, 1.0])
    found = jax.jit(jax.vmap(lambda rate: ops.dropout(key, x, rate)))(rates)
    for y, rate in zip(found, rates, strict=True):
        np.testing.assert_allclose(y, ops.dropout(key, x, float(rate)), 1e-15)
    slope, dx = jax.jit(jax.grad(lambda rate, x: ops.dropout(key, x, rate).sum(), (0, 1)))(
        0.25, x
    )
    assert slope == 0
    np.testing.assert_allclose(dx, jnp.where(found[1] == 0, 0, 1 / 0.75), 1e-15)
    layer = jax.jit(lambda rate: layers.Dropout(rate).apply({}, x, key=key))
    np.testing.assert_array_equal(layer(0.25), found[1])
    with pytest.raises(ValueError, match=r"rate that is a .* scalar; got .* \(4,\)"):
        jax.jit(lambda rates: ops.dropout(key, x, rates))(rates)
