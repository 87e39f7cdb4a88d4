"""Hyperparameters in the state are seen and changed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import optim


def test_a_hyperparameter_changes_without_compiling():
    optimizer = optim.inject(optim.sgd, learning_rate=0.1, momentum=0.5)
    w = jnp.ones(2)
    state, update = optimizer.init(w), jax.jit(optimizer.update)
    updates, state = update(w, state)
    np.testing.assert_allclose(updates, -0.1)
    updates, state = update(w, state.change(learning_rate=0.01))
    np.testing.assert_allclose(updates, -0.015)
    assert update._cache_size() == 1


def test_schedules_are_seen_in_the_state():
    schedule = optim.linear_schedule(0.1, 0.0, 10)
    optimizer = optim.inject(optim.sgd, learning_rate=schedule)
    w = jnp.ones(2)
    state = optimizer.init(w)
    for step in range(3):
        _, state = optimizer.update(w, state)
        np.testing.assert_allclose(
            state.hyperparameters["learning_rate"], schedule(step), rtol=1e-12
        )


def test_what_is_not_injected_cannot_change():
    state = optim.inject(optim.sgd, learning_rate=0.1).init(jnp.ones(2))
    with pytest.raises(
        ValueError,
        match=r"^InjectState has hyperparameters \['learning_rate'\]; got 'momentum'.$",
    ):
        state.change(momentum=0.5)


def test_inject_raises_at_once():
    with pytest.raises(ValueError, match=r"^adamw needs b1 in \[0, 1\); got 1.5.$"):
        optim.inject(optim.adamw, learning_rate=0.1, b1=1.5)
