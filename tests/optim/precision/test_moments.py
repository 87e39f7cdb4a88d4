"""Moments of few bits train like those of many, and take less."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import optim

KEY = jax.random.key(0)
STEP = jnp.asarray(7, jnp.int32)


def nbytes(tree):
    return sum(a.nbytes for a in jax.tree.leaves(tree))


def quadratic(optimizer, steps=300, dtype=jnp.float32):
    """The loss that is left of a quadratic whose gradients are noisy."""
    scales = jnp.logspace(-2, 0, 512, dtype=jnp.float32)

    def body(carry, key):
        w, state = carry
        noisy = scales * w.astype(jnp.float32) + 0.01 * jax.random.normal(
            key, w.shape, jnp.float32
        )
        updates, state = optimizer.update(noisy.astype(dtype), state, w)
        return (optim.apply_updates(w, updates), state), None

    start = jnp.ones(512, dtype)
    keys = jax.random.split(KEY, steps)
    run = jax.jit(lambda: jax.lax.scan(body, (start, optimizer.init(start)), keys)[0])
    w, state = run()
    return float(jnp.sum(scales * w.astype(jnp.float32) ** 2)), state


@functools.cache
def of_large_moments():
    return quadratic(optim.adam(0.02))


@pytest.mark.parametrize(
    "moments",
    [
        jnp.bfloat16,
        optim.Int8(),
        pytest.param(optim.Int8(64), marks=pytest.mark.exhaustive),
    ],
    ids=str,
)
def test_small_moments_train_like_large_ones(moments):
    want, large = of_large_moments()
    got, state = quadratic(optim.adam(0.02, moments=moments))
    assert got < 1.5 * want
    share = nbytes((state.mu, state.nu)) / nbytes((large.mu, large.nu))
    assert share <= (0.5 if moments == jnp.bfloat16 else 0.27)
    assert all(np.isfinite(a.astype(jnp.float32)).all() for a in jax.tree.leaves(state))


def test_a_mean_square_in_bfloat16_follows_but_would_not_if_rounded_to_nearest():
    ones = jnp.ones(1000, jnp.bfloat16)
    for moments, stuck in ((None, True), (jnp.bfloat16, False)):
        optimizer = optim.adam(0.1, b2=0.999, moments=moments)
        state = optimizer.init(ones)._replace(nu=ones)
        update = jax.jit(optimizer.update)
        for _ in range(200):
            _, state = update(0 * ones, state)
        mean = state.nu.astype(jnp.float32).mean()
        assert (mean == 1) == stuck
        if not stuck:
            np.testing.assert_allclose(mean, 0.999**200, rtol=0.02)


def test_float32_moments_of_bfloat16_params():
    optimizer = optim.adam(0.1, moments=jnp.float32)
    w = jnp.ones(3, jnp.bfloat16)
    updates, state = optimizer.update(w, optimizer.init(w))
    assert updates.dtype == jnp.bfloat16
    assert {state.mu.dtype, state.nu.dtype} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize(
    "make, error, message",
    [
        (
            lambda: optim.adam(0.1, moments=jnp.int8),
            TypeError,
            "adam needs moments to be a floating-point dtype, an Int8 or None; .*int8.*",
        ),
        (
            lambda: optim.adam(0.1, moments=optim.Int8(0)),
            ValueError,
            "adam needs block of moments of at least 1; got 0.",
        ),
        (
            lambda: (masters := optim.master_weights(optim.sgd(0.1))).update(
                jnp.ones(2), masters.init(jnp.ones(2))
            ),
            ValueError,
            "master_weights needs params, as .*; got None.",
        ),
        (
            lambda: optim.master_weights(optim.sgd(0.1)).update(jnp.ones(2), None),
            TypeError,
            "master_weights needs a state of its own, MasterState; got NoneType.",
        ),
    ],
)
def test_wrong_use(make, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        make()
