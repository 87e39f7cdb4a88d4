"""Right rules, which the verifier must pass; and how their arguments are drawn."""

import jax.numpy as jnp
import numpy as np


def array(values, dtype="float32"):
    """A NumPy array, also of bfloat16, also of no axes."""
    return np.asarray(values, jnp.dtype(dtype))


def normal(rng, *shape, dtype="float32"):
    """Standard normal numbers."""
    return array(rng.standard_normal(shape), dtype)


def uniform(rng, low, high, *shape, dtype="float32"):
    """Numbers evenly spread over an interval."""
    return array(rng.uniform(low, high, shape), dtype)


def powers(rng, low, high, *shape, dtype="float32"):
    """Positive numbers whose logarithms are spread evenly from `10**low` to `10**high`."""
    return array(10 ** rng.uniform(low, high, shape), dtype)


def signed_powers(rng, low, high, *shape, dtype="float32"):
    """Such numbers of both signs."""
    return rng.choice(array([-1, 1], dtype), shape) * powers(
        rng, low, high, *shape, dtype=dtype
    )


def grid(rng, low, high, *shape, dtype="float32"):
    """Integers from `low` to `high`, stored as floats: every kink is hit."""
    return array(rng.integers(low, high + 1, shape), dtype)


def labels(rng, classes, *shape):
    """Class numbers."""
    return array(rng.integers(0, classes, shape), "int32")
