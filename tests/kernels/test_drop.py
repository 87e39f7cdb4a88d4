"""Dropout of weights: by the key and the place of a weight, however attention is cut."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import ops
from funcnn.kernels.attention import _plan, drop, factors

KEY = jax.random.key(5)


def given(options):
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((2, 7, 2, 3)) for _ in range(3))

    @jax.jit
    def both(q, k, v):
        y, pull = jax.vjp(
            lambda *a: ops.attention(*a, dropout=0.4, key=KEY, **options), q, k, v
        )
        return y, pull(jnp.cos(y))

    return [np.asarray(a) for a in jax.tree.leaves(both(q, k, v))]


@pytest.mark.parametrize("options", [{}, {"causal": True, "window": (3, 0)}])
def test_blocks_and_strips_drop_the_same_weights(options, monkeypatch):
    whole = given(options)
    monkeypatch.setattr(_plan, "BLOCK", 24)
    monkeypatch.setattr(_plan, "SHORTEST", 2)
    blocks = given(options)
    monkeypatch.setattr(_plan, "BLOCK", 2**22)
    monkeypatch.setattr(_plan, "NARROWEST", 2)
    for a, b, c in zip(whole, blocks, given(options), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(a, c, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_share_that_is_dropped(rate):
    found = factors(drop(KEY, rate, 300), (2, 2, 2, 300, 100), 0, 0, jnp.float32)
    kept = np.asarray(found) != 0
    assert abs(kept.mean() - (1 - rate)) < 5 * (rate * (1 - rate) / kept.size) ** 0.5
    np.testing.assert_allclose(np.asarray(found)[kept], 1 / (1 - rate), rtol=1e-6)
    flat = kept.reshape(-1, kept.shape[-1])
    assert len(np.unique(flat, axis=0)) == len(flat), "rows share what they drop"
    means = flat.mean(0)
    assert np.abs(means - (1 - rate)).max() < 6 * (rate * (1 - rate) / len(flat)) ** 0.5


def test_everything_and_nothing():
    q = jnp.ones((1, 3, 2, 4))
    assert not ops.attention(q, q, q, dropout=1.0, key=KEY).any()
    plain = ops.attention(q, q, q, dropout=0.0, key=KEY)
    np.testing.assert_array_equal(plain, ops.attention(q, q, q))
    with pytest.raises(
        TypeError, match=r"^attention needs a key for dropout 0.5; got None"
    ):
        ops.attention(q, q, q, dropout=0.5)
    with pytest.raises(ValueError, match=r"needs dropout in \[0.0, 1.0\]; got 1.5"):
        ops.attention(q, q, q, dropout=1.5, key=KEY)


@pytest.mark.parametrize("rate", [0.0, 0.4, 1.0])
def test_a_traced_rate(rate):
    """As in a schedule of it; the same weights are dropped, and it has no gradient."""
    q = np.random.default_rng(0).standard_normal((2, 5, 2, 3))

    def loss(q, rate):
        return jnp.cos(ops.attention(q, q, q, dropout=rate, key=KEY)).sum()

    value, grads = jax.jit(jax.value_and_grad(loss, (0, 1)))(q, rate)
    want, wanted = jax.value_and_grad(loss)(q, rate)
    np.testing.assert_allclose(value, want, rtol=1e-12)
    np.testing.assert_allclose(grads[0], wanted, rtol=1e-9, atol=1e-12)
    assert grads[1] == 0


def test_a_traced_rate_that_is_none():
    q = jnp.ones((1, 3, 2, 4))

    def call(rate, key=KEY):
        return ops.attention(q, q, q, None, None, False, None, None, None, None, rate, key)

    message = r"^attention needs a dropout that is a floating-point scalar; got int64 of "
    with pytest.raises(ValueError, match=message):
        jax.jit(call)(1)
    with pytest.raises(TypeError, match=r"^attention needs a key for dropout JitTracer"):
        jax.jit(lambda rate: call(rate, None))(0.5)
    thin = jax.jit(lambda rate: call(rate).sum())(jnp.float16(0.5))
    assert np.isfinite(thin)
