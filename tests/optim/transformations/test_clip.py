"""Clipping by the norm of all leaves, and that norm."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import optim
from tests.support.optim_runs import assert_trees_close


def test_global_norm():
    assert optim.global_norm({"a": jnp.asarray([3.0]), "b": (jnp.asarray(4.0), None)}) == 5
    assert optim.global_norm({}) == 0
    assert optim.global_norm({}).shape == ()
    assert optim.global_norm(jnp.zeros((0, 3))) == 0


def test_global_norm_sums_low_precision_in_float32():
    ones = jnp.ones(10_000, jnp.bfloat16)  # a bfloat16 sum sticks at 256
    norm = optim.global_norm([ones, jnp.ones(1, jnp.float16)])
    assert norm.dtype == jnp.float32
    np.testing.assert_allclose(norm, 10_001**0.5, rtol=1e-6)
    assert optim.global_norm([ones, jnp.ones(1)]).dtype == jnp.float64


def test_norm_of_zeros_has_a_gradient():
    grad = jax.grad(optim.global_norm)({"w": jnp.zeros(3), "b": jnp.zeros(())})
    assert_trees_close(grad, {"w": jnp.zeros(3), "b": jnp.zeros(())}, 0, 0)
    grad = jax.grad(optim.global_norm)(jnp.asarray([3.0, -4.0]))
    np.testing.assert_allclose(grad, [0.6, -0.8])


@pytest.mark.parametrize("limit", [0.0, 1.0, np.inf])
def test_clipping_zeros_gives_zeros(limit):
    clip = optim.clip_by_global_norm(limit)
    zeros = {"w": jnp.zeros(3), "b": jnp.zeros(2, jnp.bfloat16)}
    updates, _ = clip.update(zeros, clip.init(zeros))
    assert_trees_close(updates, zeros, 0, 0)


def test_clipping_leaves_small_gradients_alone_to_the_bit():
    clip = optim.clip_by_global_norm(5.0)
    for grads in (jnp.asarray([3.0, 4.0]), jnp.asarray([0.1, 0.2])):
        np.testing.assert_array_equal(clip.update(grads, clip.init(grads))[0], grads)
    grads = jnp.asarray([6.0, 8.0])
    np.testing.assert_allclose(clip.update(grads, clip.init(grads))[0], [3.0, 4.0])


def test_clipping_shows_nan_and_inf():
    clip = optim.clip_by_global_norm(1.0)
    updates, _ = clip.update([jnp.asarray(np.nan), jnp.ones(2)], clip.init(None))
    assert all(np.isnan(a).all() for a in updates)
    updates, _ = clip.update(jnp.asarray([np.inf, 1.0]), clip.init(None))
    assert np.isnan(updates[0])


def test_what_follows_a_norm_does_not_hold_it_again():
    """XLA copied the sum over all leaves into each leaf's part: minutes for 500 leaves."""
    clip = optim.clip_by_global_norm(1.0)
    grads = {str(i): jnp.ones(8) for i in range(60)}
    compiled = (
        jax.jit(lambda g: clip.update(g, optim.ClipState())[0]).lower(grads).compile()
    )
    assert len(compiled.as_text()) < 5000 * len(grads)  # it was three times that
