r"""Schedules of one curve: constant, a line, a power, an exponential, half a wave."""

import chex
import jax.numpy as jnp

from funcnn.optim.schedules._values import (
    Schedule,
    between,
    check,
    clock,
    counts,
    number,
    positive,
    power_of,
    rounded,
    share,
    since,
    turns,
    wave,
)


def constant_schedule(value: chex.Numeric) -> Schedule:
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
    return lambda step: number(value) + 0 * number(clock(step)[0])


def linear_schedule(
    start: chex.Numeric, end: chex.Numeric, steps: int, begin: int = 0
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
    start: chex.Numeric, end: chex.Numeric, power: chex.Numeric, steps: int, begin: int = 0
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
        t, first, whole = clock(step, begin, steps)
        left = whole - since(t, first, whole)
        return between(end, start, power_of(share(left, whole), power))

    return schedule


def exponential_schedule(
    start: chex.Numeric,
    rate: chex.Numeric,
    steps: int,
    begin: int = 0,
    *,
    staircase: bool = False,
    end: chex.Numeric | None = None,
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
        t, first, period = clock(step, begin, steps)
        whole, rest = turns(since(t, first), period)
        part = number(whole)
        if not staircase:
            part = part + rounded(share(rest, period))
        value = number(start) * number(rate) ** part
        if end is None:
            return value
        falls = number(rate) < 1
        bounds = jnp.maximum(value, number(end)), jnp.minimum(value, number(end))
        return jnp.where(falls, *bounds)

    return schedule


def cosine_schedule(
    start: chex.Numeric, steps: int, end: chex.Numeric = 0.0, *, power: chex.Numeric = 1.0
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
        t, whole = clock(step, steps)
        left = whole - since(t, 0, whole)
        return between(end, start, power_of(wave(left, whole), power))

    return schedule
