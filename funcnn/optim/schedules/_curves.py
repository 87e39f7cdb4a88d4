r"""Schedules: functions of the step that a learning rate may be.

Each is `schedule(step) -> scalar` for a step that is an int or an integer array, traced
or not, 0 for the first update. They are computed in the default float dtype. Rates and
factors may be traced; numbers of steps are Python integers.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from funcnn.foundation._checks import integer
from funcnn.optim.protocol._rates import hyperparameter

Schedule = Callable[[ArrayLike], jax.Array]


def constant_schedule(value: ArrayLike) -> Schedule:
    """The same at every step.

    Args:
        value: at least 0.

    Returns:
        A schedule.

    Raises:
        TypeError: if `value` is no number.
        ValueError: if it is negative, not finite or not a scalar.
    """
    check("constant_schedule", value=value)
    return lambda step: number(value) + 0 * clock(step)


def linear_schedule(
    start: ArrayLike, end: ArrayLike, steps: int, begin: int = 0
) -> Schedule:
    r"""A straight line from `start` to `end`, and `end` thereafter.

    Args:
        start: the value up to step `begin`.
        end: the value from step `begin + steps` on.
        steps: how many it takes, at least 1.
        begin: the step at which it starts to move.

    Returns:
        A schedule.

    Raises:
        TypeError: if an argument is no number.
        ValueError: if one lies outside its range.
    """
    return polynomial("linear_schedule", start, end, 1.0, steps, begin)


def polynomial_schedule(
    start: ArrayLike, end: ArrayLike, power: ArrayLike, steps: int, begin: int = 0
) -> Schedule:
    r"""$e + (s - e)(1 - t / T)^p$, from `start` to `end`, and `end` thereafter.

    Args:
        start: $s$, the value up to step `begin`.
        end: $e$, the value from step `begin + steps` on.
        power: $p$, at least 0.
        steps: $T$, at least 1.
        begin: the step at which $t = 0$.

    Returns:
        A schedule.

    Raises:
        TypeError: if an argument is no number.
        ValueError: if one lies outside its range.
    """
    return polynomial("polynomial_schedule", start, end, power, steps, begin)


def polynomial(name, start, end, power, steps, begin):
    """A polynomial schedule; errors speak of `name`."""
    check(name, start=start, end=end, power=power)
    steps, begin = counts(name, steps=steps), counts(name, 0, begin=begin)

    def schedule(step):
        # compiled, it may be rounded to below 0, where powers are NaN
        rest = jnp.maximum(1 - passed(step, steps, begin), 0)
        return (number(start) - number(end)) * rest ** number(power) + number(end)

    return schedule


def exponential_schedule(
    start: ArrayLike,
    rate: ArrayLike,
    steps: int,
    begin: int = 0,
    *,
    staircase: bool = False,
    end: ArrayLike | None = None,
) -> Schedule:
    r"""$s\,r^{t / T}$: multiplied by `rate` in every `steps` steps.

    Args:
        start: $s$, the value up to step `begin`.
        rate: $r$ above 0.
        steps: $T$, at least 1.
        begin: the step at which $t = 0$.
        staircase: whether $t / T$ is rounded down.
        end: where to stop: the least value if `rate` is below 1, else the largest.

    Returns:
        A schedule.

    Raises:
        TypeError: if an argument is no number.
        ValueError: if one lies outside its range.
    """
    name = "exponential_schedule"
    check(name, start=start, **({} if end is None else {"end": end}))
    positive(name, rate=rate)
    steps, begin = counts(name, steps=steps), counts(name, 0, begin=begin)

    def schedule(step):
        part = jnp.maximum(clock(step) - begin, 0) / steps
        part = jnp.floor(part) if staircase else part
        value = number(start) * number(rate) ** part
        if end is None:
            return value
        falls = number(rate) < 1
        bounds = jnp.maximum(value, number(end)), jnp.minimum(value, number(end))
        return jnp.where(falls, *bounds)

    return schedule


def cosine_schedule(
    start: ArrayLike, steps: int, end: ArrayLike = 0.0, *, power: ArrayLike = 1.0
) -> Schedule:
    r"""Half a wave from `start` to `end`: $e + (s - e)\,(\frac{1 + \cos \pi t / T}{2})^p$.

    Loshchilov & Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017,
    arXiv:1608.03983, without restarts.

    Args:
        start: $s$, the value at step 0.
        steps: $T$, at least 1.
        end: $e$, the value from then on.
        power: $p$, at least 0.

    Returns:
        A schedule.

    Raises:
        TypeError: if an argument is no number.
        ValueError: if one lies outside its range.
    """
    check("cosine_schedule", start=start, end=end, power=power)
    steps = counts("cosine_schedule", steps=steps)

    def schedule(step):
        wave = (1 + jnp.cos(jnp.pi * passed(step, steps))) / 2
        return number(end) + (number(start) - number(end)) * wave ** number(power)

    return schedule


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
