"""Gradients that are not finite are skipped, and shown if they last."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import optim


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_gradients_are_skipped_and_then_shown(bad):
    optimizer, w = optim.apply_if_finite(optim.sgd(0.1, 0.9), 2), jnp.ones(2)
    state = optimizer.init(w)
    wrong, update = jnp.asarray([1.0, bad]), jax.jit(optimizer.update)
    for row in (1, 2):
        updates, state = update(wrong, state)
        np.testing.assert_array_equal(updates, 0)
        np.testing.assert_array_equal(state.inner.momentum, 0)
        assert (state.row, state.total, state.inner.step) == (row, row, 0)
    updates, _ = update(wrong, state)
    assert not np.isfinite(updates).all()
    updates, state = update(w, state)
    np.testing.assert_allclose(updates, -0.1)
    assert (state.row, state.total, state.inner.step) == (0, 2, 1)
