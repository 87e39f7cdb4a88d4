"""A step and a schedule's arguments in, checked numbers of the default float dtype out."""

import math
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from funcnn.foundation._checks import integer
from funcnn.optim.protocol._rates import hyperparameter

# A step, an int or an integer array, traced or not, 0 for the first update, to a scalar.
Schedule = Callable[[chex.Numeric], jax.Array]


def clock(step):
    """The step as a floating-point number."""
    return jnp.asarray(step, jnp.result_type(float))


def number(value):
    """A value in the default float dtype, which promotes nothing."""
    return jnp.asarray(value, jnp.result_type(float))


def passed(step, steps, begin=0):
    """What share of `steps` has passed, from 0 to 1."""
    return jnp.clip(clock(step) - begin, 0, steps) / steps


def check(schedule, **values):
    """Check that values are at least 0 and finite."""
    for name, value in values.items():
        hyperparameter(schedule, name, value, below=math.inf)


def positive(schedule, **values):
    """Check that values are above 0 and finite, as far as they are known."""
    check(schedule, **values)
    for name, value in values.items():
        if not isinstance(value, jax.core.Tracer) and value == 0:
            raise ValueError(f"{schedule} needs {name} above 0; got {value}.")


def counts(schedule, minimum=1, **named):
    """Return a number of steps as an int of at least `minimum`."""
    ((name, value),) = named.items()
    return integer(schedule, name, value, minimum=minimum)
