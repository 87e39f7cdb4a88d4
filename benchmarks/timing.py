"""Paired timing: what is compared runs in turns, in one process."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

SHORTEST = 2e-3  # seconds: what takes less is run several times between two looks


class Ratio(NamedTuple):
    """How many times longer one program takes than another: quartiles over rounds."""

    low: float
    middle: float
    high: float


def paired(
    programs: Sequence[Callable],
    seconds: float = 1.0,
    rounds: int = 7,
    turn: float = SHORTEST,
    pause: float = 0.0,
) -> np.ndarray:
    """Time programs in rounds, in each of which every program runs once.

    Whatever slows the machine down for a while slows all of them down. The order changes
    from round to round, so that none is always the first.

    Args:
        programs: functions without arguments, which are waited for.
        seconds: after which no round begins, once there are enough.
        rounds: how many there are at least.
        turn: seconds that a program runs at least, whenever it is its turn.
        pause: seconds to sleep before each turn. What runs first after it is not counted:
            it wakes the threads up, and finds nothing in the caches.

    Returns:
        Seconds, of shape (rounds, programs).
    """

    def timed(i, count):
        start = time.perf_counter()
        for _ in range(count):
            jax.block_until_ready(programs[i]())
        return (time.perf_counter() - start) / count

    everyone = range(len(programs))
    warm = [min(timed(i, 1) for _ in range(2)) for i in everyone]  # the first compiles
    count = min(max(1, round(turn / min(warm))), 100)
    stop = time.perf_counter() + seconds
    table: list[list[float]] = []
    while len(table) < rounds or time.perf_counter() < stop:
        took = dict.fromkeys(everyone, 0.0)
        for i in order(len(table), len(programs)):
            if pause:
                time.sleep(pause)
                timed(i, 1)
            took[i] = timed(i, count)
        table.append(list(took.values()))
    return np.array(table)


def order(turn: int, count: int) -> list[int]:
    """Whose turn it is: each begins as often, and follows each other one as often."""
    begin = turn // 2 % count
    forwards = [(begin + i) % count for i in range(count)]
    return forwards[::-1] if turn % 2 else forwards


def ratio(rival: np.ndarray, mine: np.ndarray) -> Ratio:
    """Quartiles of `rival / mine`, round by round; above 1 mine is the faster one."""
    return Ratio(*map(float, np.quantile(rival / mine, [0.25, 0.5, 0.75])))
