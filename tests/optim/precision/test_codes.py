"""Eight-bit codes: near, right in the mean, and never 0 of what is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn.optim.precision import _codes

KEY = jax.random.key(0)
STEP = jnp.asarray(7, jnp.int32)


@pytest.mark.parametrize("shape", [(), (5,), (256,), (300,), (7, 100), (0, 3)])
def test_codes_are_near_and_have_the_right_mean(shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)

    @jax.jit
    @jax.vmap
    def round_trip(step):
        return _codes.dequantise(_codes.quantise(jnp.asarray(x), 256, step, 3), shape)

    rounds = np.asarray(round_trip(STEP + np.arange(100, dtype=np.int32)))
    assert rounds.shape == (100, *shape)
    scale = abs(x).max(initial=1e-9)
    for r in rounds:
        gap = 4 / 127 * (abs(x) / scale) ** 0.75 * scale + 1e-2 * scale
        assert (abs(r - x) <= gap).all()
    np.testing.assert_allclose(np.mean(rounds, 0), x, atol=0.01 * scale)


ROUND_TRIP = jax.jit(lambda x: _codes.dequantise(_codes.quantise(x, 4, STEP, 0), x.shape))


def test_small_numbers_never_become_0():
    x = jnp.asarray([1.0, 1e-12, -1e-12, 0.0], jnp.float32)
    got = ROUND_TRIP(x)
    assert got[0] == 1
    assert 0 < got[1] < 1e-8
    assert -1e-8 < got[2] < 0
    assert got[3] == 0


def test_a_nan_shows_in_its_block():
    x = jnp.ones(8).at[1].set(jnp.nan)
    got = ROUND_TRIP(x)
    np.testing.assert_array_equal(jnp.isnan(got), [True] * 4 + [False] * 4)
