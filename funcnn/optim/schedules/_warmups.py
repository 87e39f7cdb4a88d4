"""Schedules that warm up, and then fall."""

import chex
import jax.numpy as jnp

from funcnn.optim.schedules._curves import cosine_schedule, linear_schedule
from funcnn.optim.schedules._joins import join_schedules
from funcnn.optim.schedules._values import Schedule, check, clock, counts, number


def warmup_cosine_schedule(
    peak: chex.Numeric,
    warmup: int,
    steps: int,
    *,
    start: chex.Numeric = 0.0,
    end: chex.Numeric = 0.0,
) -> Schedule:
    """A line up to `peak`, then half a wave down to `end`.

    Args:
        peak: the value at step `warmup`.
        warmup: how many steps to it, at least 1.
        steps: how many in all, more than `warmup`.
        start: the value at step 0.
        end: the value from step `steps` on.

    Returns:
        A schedule.

    Raises:
        TypeError: if an argument is no number.
        ValueError: if one lies outside its range.
    """
    name = "warmup_cosine_schedule"
    check(name, peak=peak, start=start, end=end)
    warmup = counts(name, warmup=warmup)
    steps = counts(name, warmup + 1, steps=steps)
    up = linear_schedule(start, peak, warmup)
    return join_schedules([up, cosine_schedule(peak, steps - warmup, end)], [warmup])


def warmup_stable_decay_schedule(
    peak: chex.Numeric,
    warmup: int,
    stable: int,
    decay: int,
    *,
    start: chex.Numeric = 0.0,
    end: chex.Numeric = 0.0,
) -> Schedule:
    """A line up to `peak`, a plateau, and a line down to `end`.

    Hu et al., "MiniCPM: unveiling the potential of small language models with scalable
    training strategies", 2024, arXiv:2404.06395: training can go on from any point of the
    plateau.

    Args:
        peak: the value of the plateau.
        warmup: how many steps up to it, at least 1.
        stable: how many steps it lasts, at least 1.
        decay: how many steps down, at least 1.
        start: the value at step 0.
        end: the value after all of them.

    Returns:
        A schedule.

    Raises:
        TypeError: if an argument is no number.
        ValueError: if one lies outside its range.
    """
    name = "warmup_stable_decay_schedule"
    check(name, peak=peak, start=start, end=end)
    warmup, stable = counts(name, warmup=warmup), counts(name, stable=stable)
    decay = counts(name, decay=decay)
    up, down = linear_schedule(start, peak, warmup), linear_schedule(peak, end, decay)
    return join_schedules([up, down], [warmup + stable])


def inverse_sqrt_schedule(peak: chex.Numeric, warmup: int) -> Schedule:
    r"""Up to `peak` in `warmup` steps, then down with the root of the step.

    $p \min\left( \frac{t + 1}{w}, \sqrt{\frac{w}{t + 1}} \right)$ at step $t$
    (Vaswani et al., "Attention is all you need", 2017, arXiv:1706.03762, with a peak in
    place of the model's width).

    Args:
        peak: $p$, at least 0.
        warmup: $w$, at least 1.

    Returns:
        A schedule.

    Raises:
        TypeError: if an argument is no number.
        ValueError: if one lies outside its range.
    """
    check("inverse_sqrt_schedule", peak=peak)
    warmup = counts("inverse_sqrt_schedule", warmup=warmup)

    def schedule(step):
        t, last = clock(step, warmup - 1)
        updates = number(t) + 1
        up, down = updates * number(1 / warmup), jnp.sqrt(number(warmup) / updates)
        return number(peak) * jnp.where(t >= last, down, up)

    return schedule
