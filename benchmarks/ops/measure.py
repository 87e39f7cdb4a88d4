"""One case at a time: time and memory of the op and of its rival."""

import time
from collections.abc import Callable

import jax
import numpy as np

from benchmarks.ops.cases import Case, DisagreementError, agree, program
from benchmarks.ops.shapes import Shape
from benchmarks.results import Cost, Row
from benchmarks.timing import paired, ratio
from funcnn import verify


def timed(shape: Shape, case: Case, kind: str, seconds: float, rounds: int) -> Row:
    """Check that both programs agree, then run them in turns.

    Args:
        shape: what the row is called after.
        case: with numbers.
        kind: one of `cases.KINDS`.
        seconds: for `timing.paired`, as is `rounds`.
        rounds: how many at least.

    Raises:
        DisagreementError: if the numbers are not the same.
    """
    both = [jax.jit(program(f, case, kind)) for f in (case.plain, case.mine)]
    rival, mine = (f(case.args, case.dy) for f in both)
    try:
        agree(mine, rival)
    except DisagreementError as error:
        raise DisagreementError(f"{shape.name}, {kind}: {error}") from None
    del rival, mine
    table = paired([lambda f=f: f(case.args, case.dy) for f in both], seconds, rounds)
    low, middle, high = ratio(table[:, 0], table[:, 1])
    medians = np.median(table, 0)
    return Row(
        case=shape.name,
        network=shape.network,
        group=shape.group,
        kind=kind,
        rival=float(medians[0]),
        mine=float(medians[1]),
        low=low,
        ratio=middle,
        high=high,
    )


def memory(case: Case) -> list[Cost]:
    """Bytes of the whole VJP, for a case with or without numbers.

    "temp" is what the compiled program needs besides its arguments and outputs, "held"
    what `jax.vjp` keeps from the forward pass to the pullback, and "new" what of it is
    neither an argument nor the output.
    """
    programs = [compiled(f, case) for f in (case.plain, case.mine)]
    temp = [p.memory_analysis().temp_size_in_bytes for p in programs]
    held = [verify.residuals(f, *case.args) for f in (case.plain, case.mine)]
    return [
        Cost("temp", temp[0], temp[1]),
        Cost("held", held[0].total, held[1].total),
        Cost("new", held[0].computed, held[1].computed),
    ]


def compile_time(case: Case, rounds: int = 3) -> Cost:
    """Median seconds to trace and compile the whole VJP, in turns, nothing cached."""
    took: list[list[float]] = []
    for turn in range(rounds):
        both = [0.0, 0.0]
        for i in (0, 1) if turn % 2 else (1, 0):
            both[i] = stopped((case.plain, case.mine)[i], case)
        took.append(both)
    rival, mine = map(float, np.median(took, 0))
    return Cost("compile", rival, mine)


def compiled(f: Callable, case: Case):
    """The whole VJP, compiled and not run."""
    return jax.jit(program(f, case, "vjp")).lower(case.args, case.dy).compile()


def stopped(f: Callable, case: Case) -> float:
    """Seconds that `compiled` takes when JAX remembers nothing."""
    jax.clear_caches()
    start = time.perf_counter()
    compiled(f, case)
    return time.perf_counter() - start
