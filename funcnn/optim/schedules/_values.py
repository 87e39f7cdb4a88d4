"""A step and a schedule's arguments in, checked numbers of the default float dtype out."""

import math
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import numpy as np

from funcnn.foundation._checks import integer
from funcnn.optim.protocol._rates import hyperparameter

# A step, an int or an array of integers, traced or not, 0 for the first update, to a
# scalar. A float will do as well.
Schedule = Callable[[chex.Numeric], jax.Array]


def clock(step, *counts):
    """The step, and numbers of steps, as integers; NumPy's if the step is not JAX's.

    Integers, as float32 counts to 2^24 alone, and as a compiler makes products with rounded
    inverses of quotients, which then are less than 1 where they should be 1. Floats if the
    step is one, or if a number of steps is larger than integers can be.
    """
    if not isinstance(step, jax.Array):
        t = np.asarray(step)
        kind = np.float64 if jnp.issubdtype(t.dtype, jnp.floating) else np.int64
        return t.astype(kind), *counts
    largest = jnp.iinfo(jnp.result_type(int)).max
    if jnp.issubdtype(step.dtype, jnp.floating) or max(counts, default=0) > largest:
        return number(step), *map(float, counts)
    if jnp.iinfo(step.dtype).max > largest:
        step = step.clip(max=largest)
    return step.astype(jnp.result_type(int)), *counts


def array(t):
    """The step as schedules of others take it: of the default integers, if it fits."""
    kind = jnp.result_type(int)
    large = not isinstance(t, jax.Array) and np.any(t > jnp.iinfo(kind).max)
    if large or jnp.issubdtype(t.dtype, jnp.floating):
        return number(t)
    return jnp.asarray(t, kind)


def since(t, begin, most=None):
    """How many steps have passed since `begin`, from 0 to `most`."""
    return (t - begin).clip(0, most)


def turns(t, steps):
    """How many times `steps` have passed, and how many after the last time."""
    part = t % steps
    if jnp.issubdtype(t.dtype, jnp.integer):
        return t // steps, part
    return ((t - part) * (1 / steps)).round(), part  # the remainder is exact, t / steps not


def share(n, steps):
    """What share of `steps` a number `n` of them is, 1 of all of them."""
    return jnp.where(n >= steps, number(1), number(n) * number(1 / steps))


def wave(n, steps):
    """Half a wave, from 0 for no step to 1 for `steps` of them: sin²(pi n / 2 steps).

    That is (1 - cos) / 2, with all of its digits where it is small.
    """
    sine = jnp.sin(number(n) * number(math.pi / (2 * steps)))
    return jnp.where(n >= steps, number(1), sine * sine)


def between(end, start, rest):
    """`end + (start - end) * rest`: just `end` for a rest of 0, and `start` for 1."""
    end, start = number(end), number(start)
    return jnp.where(rest == 1, start, end + rounded((start - end) * rest))


def rounded(product):
    """A product that a compiler cannot fuse with the sum that it is a part of.

    It would round once in place of twice, and a schedule be another one when compiled.
    """
    return jnp.maximum(product, jnp.finfo(product.dtype).min)


def power_of(base, power):
    """A power, by products where it is known to be a small integer.

    A compiler takes products for some of those, which are rounded in another way.
    """
    if isinstance(power, int | float) and power in (0, 1, 2, 3):
        return jax.lax.integer_pow(base, int(power))
    return base ** number(power)


def number(value):
    """A value in the default float dtype, which promotes nothing."""
    return jnp.asarray(value, jnp.result_type(float))


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
