"""Schedules of pieces: of others one after another, or of factors."""

import math
from collections.abc import Callable, Mapping, Sequence

import chex
import jax.numpy as jnp

from funcnn.optim.protocol._rates import hyperparameter
from funcnn.optim.schedules._values import Schedule, check, clock, counts, number


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
        value, now = number(start) + 0 * clock(step), clock(step)
        for at, factor in factors.items():
            value = value * jnp.where(now >= at, number(factor), 1)
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
        step = jnp.asarray(step)
        value = number(schedules[0](step))
        for first, part in zip(at, schedules[1:], strict=True):
            value = jnp.where(step < first, value, number(part(step - first)))
        return value

    return schedule
