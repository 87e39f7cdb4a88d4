"""Params of low precision: rounded by chance, or of a copy in float32."""

import jax
import jax.numpy as jnp
import numpy as np

from funcnn import optim

KEY = jax.random.key(0)
STEP = jnp.asarray(7, jnp.int32)


def test_stochastic_rounding_lets_small_updates_count():
    """Updates of a hundredth of the gap between bfloat16 numbers."""
    w, g = jnp.ones(4000, jnp.bfloat16), jnp.ones(4000, jnp.bfloat16)
    plain = optim.sgd(2**-14)
    for optimizer, moves in ((plain, False), (optim.stochastic_rounding(plain), True)):
        params, state = w, optimizer.init(w)
        update = jax.jit(optimizer.update)
        for _ in range(20):
            updates, state = update(g, state, params)
            params = optim.apply_updates(params, updates)
        assert params.dtype == jnp.bfloat16
        moved = 1 - float(params.astype(jnp.float32).mean())
        np.testing.assert_allclose(moved, 20 * 2**-14 if moves else 0, rtol=0.2)


def test_stochastic_rounding_leaves_float32_as_it_is():
    w = {"a": jnp.ones(3, jnp.float32), "b": jnp.ones(2, jnp.bfloat16), "none": None}
    optimizer = optim.stochastic_rounding(optim.sgd(0.1))
    updates, _ = optimizer.update(w, optimizer.init(w), w)
    np.testing.assert_allclose(updates["a"], -0.1)
    new = optim.apply_updates(w, updates)
    assert jax.tree.map(lambda a: a.dtype, new) == jax.tree.map(lambda a: a.dtype, w)


def test_master_weights_are_what_float32_training_has():
    low = jnp.asarray(np.random.default_rng(0).standard_normal(50), jnp.bfloat16)
    high = low.astype(jnp.float32)
    master, plain = optim.master_weights(optim.adamw(1e-3)), optim.adamw(1e-3)
    state, want = master.init(low), plain.init(high)
    for _ in range(20):
        grads = jnp.sin(low.astype(jnp.float32)).astype(jnp.bfloat16)
        updates, state = master.update(grads, state, low)
        low = optim.apply_updates(low, updates)
        moves, want = plain.update(grads.astype(jnp.float32), want, high)
        high = high + moves
        np.testing.assert_array_equal(low, high.astype(jnp.bfloat16))
    np.testing.assert_array_equal(state.params, high)
    assert low.dtype == jnp.bfloat16
