"""Schedules of pieces: of others one after another, or of factors."""

import math
from collections.abc import Callable, Mapping, Sequence

import chex
import jax.numpy as jnp

from funcnn.optim.protocol._rates import hyperparameter
from funcnn.optim.schedules._values import (
    Schedule,
    array,
    check,
    clock,
    counts,
    number,
    since,
)


def piecewise_schedule(
    start: chex.Numeric, factors: Mapping[int, chex.Numeric]
) -> Schedule:
    """Constant, but multiplied by a factor at each of some steps.

    Args:
        start: the value at first.
        factors: by the first step at which the value is multiplied so; each at least 0.

    Returns:
        A schedule.

    Raises:
        TypeError: if an argument is no number, or a step no integer.
        ValueError: if one lies outside its range.
    """
    name = "piecewise_schedule"
    check(name, start=start)
    for at, factor in factors.items():
        counts(name, 0, step=at)
        hyperparameter(name, f"factor at step {at}", factor, below=math.inf)

    def schedule(step):
        now, *marks = clock(step, *factors)
        value = number(start) + 0 * number(now)
        for at, factor in zip(marks, factors.values(), strict=True):
            value = value * jnp.where(now >= at, number(factor), number(1))
        return value

    return schedule


def join_schedules(schedules: Sequence[Callable], boundaries: Sequence[int]) -> Schedule:
    """One schedule after another, each counting its steps from 0.

    Args:
        schedules: ours, optax's or functions of your own.
        boundaries: the first step of each but the first one, ascending.

    Returns:
        A schedule.

    Raises:
        TypeError: if a boundary is no integer.
        ValueError: if there are not as many boundaries as there are joints, or they do not
            ascend.
    """
    name = "join_schedules"
    if len(schedules) != len(boundaries) + 1:
        raise ValueError(
            f"{name} needs one boundary fewer than schedules; got {len(boundaries)} "
            f"boundaries and {len(schedules)} schedules."
        )
    at = [counts(name, 0, boundary=b) for b in boundaries]
    if sorted(set(at)) != at:
        raise ValueError(f"{name} needs boundaries that ascend; got {list(boundaries)}.")

    def schedule(step):
        now, *firsts = clock(step, *at)
        value = number(schedules[0](array(now)))
        for first, part in zip(firsts, schedules[1:], strict=True):
            here = number(part(array(since(now, first))))
            value = jnp.where(now >= first, here, value)
        return value

    return schedule
