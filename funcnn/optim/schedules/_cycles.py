"""Schedules that go up and down: once, or round and round."""

from typing import Literal

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
    share,
    since,
    turns,
    wave,
)


def one_cycle_schedule(
    peak: chex.Numeric,
    steps: int,
    *,
    rise: float = 0.3,
    start: chex.Numeric = 25.0,
    end: chex.Numeric = 1e4,
) -> Schedule:
    r"""Half a wave up to `peak` and another one down, far below where it started.

    Smith & Topin, "Super-convergence: very fast training of neural networks using large
    learning rates", 2018, arXiv:1708.07120, with cosines as in optax and PyTorch.

    Args:
        peak: the value at step `rise * steps`, rounded, which is neither 0 nor `steps`.
        steps: how many in all, at least 2.
        rise: the share of them that leads up, in (0, 1).
        start: what `peak` is divided by at step 0, above 0.
        end: what that is divided by at the end, above 0.

    Returns:
        A schedule.

    Raises:
        TypeError: if an argument is no number.
        ValueError: if one lies outside its range.
    """
    name = "one_cycle_schedule"
    check(name, peak=peak)
    positive(name, start=start, end=end)
    steps = counts(name, 2, steps=steps)
    if not 0 < rise < 1:
        raise ValueError(f"{name} needs rise between 0 and 1 of {steps} steps; got {rise}.")
    # 0.29 * 100 is 28.999999999999996
    top = min(max(round(rise * steps), 1), steps - 1)

    def schedule(step):
        t, rising, falling = clock(step, top, steps - top)
        high = number(peak)
        low = high * number(1 / start)
        last = low * number(1 / end)
        up = between(low, high, wave(since(t, 0, rising), rising))
        left = falling - since(t, rising, falling)
        down = between(last, high, wave(left, falling))
        return jnp.where(t >= rising, down, up)

    return schedule


def cyclic_schedule(
    low: chex.Numeric,
    high: chex.Numeric,
    steps: int,
    *,
    shape: Literal["triangle", "cosine"] = "triangle",
    decay: chex.Numeric = 1.0,
) -> Schedule:
    r"""Round and round between two values.

    A triangle goes up for half of the steps and down again (Smith, "Cyclical learning rates
    for training neural networks", 2017, arXiv:1506.01186); a cosine starts at `high`, goes
    down to `low` and starts again (Loshchilov & Hutter, 2017, arXiv:1608.03983).

    Args:
        low: the least value.
        high: the largest value, in the first cycle.
        steps: how long a cycle is, at least 2.
        shape: `"triangle"` or `"cosine"`.
        decay: what `high - low` is multiplied by after each cycle; 0.5 is the paper's
            `triangular2`.

    Returns:
        A schedule.

    Raises:
        TypeError: if an argument is no number.
        ValueError: if one lies outside its range, or there is no such shape.
    """
    name = "cyclic_schedule"
    check(name, low=low, high=high, decay=decay)
    steps = counts(name, 2, steps=steps)
    if shape not in ("triangle", "cosine"):
        raise ValueError(f'{name} needs shape "triangle" or "cosine"; got {shape!r}.')

    def schedule(step):
        t, period = clock(step, steps)
        cycles, n = turns(t, period)
        if shape == "triangle":
            height = share(2 * n.clip(max=period - n), period)
        else:
            height = wave(period - n, period)
        return between(low, high, height * number(decay) ** number(cycles))

    return schedule
