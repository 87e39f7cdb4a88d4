"""What tests of hard points share: numbers, roundings, and a value with its pullback."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

INF = math.inf
DTYPES = pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
# What a result rounded to its dtype may be off by, relatively.
ROUNDING = {"bfloat16": 2**-8, "float16": 2**-10, "float32": 2e-6, "float64": 1e-13}


def value_and_pullback(op, arrays, dy=None):
    """The value and the gradients for the cotangent `dy`, by default ones, under jit."""

    @jax.jit
    def run(arrays, dy):
        y, pullback = jax.vjp(op, *arrays)
        given = jax.tree.map(jnp.ones_like, y) if dy is None else dy
        return y, pullback(jax.tree.map(lambda d, y: d.astype(y.dtype), given, y))

    return run(tuple(arrays), dy)


def values_and_pullbacks(calls):
    """The same for several `(op, arrays, dy)`, by name, in one program."""

    def of(arrays):
        return {
            name: value_and_pullback(op, given, dy)
            for (name, (op, *_)), (given, dy) in zip(calls.items(), arrays, strict=True)
        }

    return jax.jit(of)([(tuple(arrays), dy) for _, arrays, dy in calls.values()])


def accumulated(dtype):
    """What statistics of numbers of that dtype are in."""
    return "float64" if dtype == "float64" else "float32"


def wide(a):
    return np.asarray(a, np.float64)


def close(got, expected, rtol, atol=0.0):
    np.testing.assert_allclose(wide(got), wide(expected), rtol, atol)


def positive(*shape, seed=0):
    """Bfloat16 numbers around 1, whose sums grow as fast as their counts."""
    return jnp.asarray(np.random.default_rng(seed).uniform(0.5, 1.5, shape), jnp.bfloat16)


def zeros(*shape):
    return jnp.zeros(shape)


def normal(*shape):
    return jnp.asarray(np.random.default_rng(1).standard_normal(shape))
