"""Rounding by chance: neighbours, means, and the noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn.optim.precision import _rounding

KEY = jax.random.key(0)
STEP = jnp.asarray(7, jnp.int32)


def noise(size, step=STEP, salt=0):
    return np.asarray(_rounding.uniform((size,), step, salt))


def test_noise_is_uniform_and_new_for_each_step_and_salt():
    a, b, c = noise(100_000), noise(100_000, STEP + 1), noise(100_000, salt=1)
    for x in (a, b, c):
        assert 0 <= x.min() < x.max() < 1
        counts = np.histogram(x, 20, (0, 1))[0]
        assert abs(counts - 5000).max() < 5 * 5000**0.5
        assert abs(np.corrcoef(x[1:], x[:-1])[0, 1]) < 0.02
    assert abs(np.corrcoef([a, b, c]) - np.eye(3)).max() < 0.02


@pytest.mark.parametrize("x", [1.001, -1.001, 3e-5, 1.0, 0.0])
def test_bfloat16_is_rounded_to_neighbours_with_the_right_mean(x):
    x = np.full(50_000, x, np.float32)
    got = _rounding.stochastic(jnp.asarray(x), jnp.bfloat16, jnp.asarray(noise(x.size)))
    assert got.dtype == jnp.bfloat16
    got = np.asarray(got, np.float64)
    assert abs(got - x).max() <= 2**-7 * abs(x[0])
    np.testing.assert_allclose(got.mean(), x[0], rtol=1e-4)


def test_rounding_keeps_what_is_not_finite():
    x = jnp.asarray([jnp.inf, -jnp.inf, jnp.nan, 3.4e38], jnp.float32)
    got = _rounding.stochastic(x, jnp.bfloat16, jnp.full(4, 0.9999))
    np.testing.assert_array_equal(got[:3].astype(jnp.float32), x[:3])
