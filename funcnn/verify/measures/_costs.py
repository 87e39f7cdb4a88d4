"""What hand-written rules cost in time and memory, against autodiff."""

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from funcnn.verify.functions._autodiff import autodiff
from funcnn.verify.functions._op import Op, discover
from funcnn.verify.functions._split import cast, problem
from funcnn.verify.measures._residuals import Residuals, residuals, traceable

SHORTEST = 2e-3  # seconds: what takes less is run several times between two looks


class Pair(NamedTuple):
    """A number of the hand-written program's, and the same of autodiff's."""

    hand: float
    plain: float


class Costs(NamedTuple):
    """Time and memory of two programs. `str` is a line for each.

    `time` is the median in seconds, `ratios` the quartiles of what paired runs took, hand
    over plain. `memory` is what the compiled programs need besides arguments and outputs,
    `held` the bytes between forward and backward pass; None where they are not known.
    """

    time: Pair
    ratios: tuple[float, float, float]
    memory: Pair | None = None
    held: Pair | None = None

    def __str__(self) -> str:
        """Hand against autodiff."""
        low, middle, high = self.ratios
        lines = [
            f"time   {_seconds(self.time.hand)} against {_seconds(self.time.plain)} "
            f"({middle:.2f} of autodiff's, quartiles {low:.2f} to {high:.2f})"
        ]
        for name, pair in (("memory", self.memory), ("held", self.held)):
            if pair:
                lines.append(
                    f"{name:6} {_bytes(pair.hand)} against {_bytes(pair.plain)} "
                    f"({ratio(pair)} of autodiff's)"
                )
        return "\n".join(lines)


def costs(
    hand: Callable, plain: Callable, *args, rounds: int = 15, seconds: float = 2.0
) -> Costs:
    """Time and memory of two functions of the same arguments, both compiled.

    Args:
        hand: the function that is judged.
        plain: the function that it is compared with.
        *args: their arguments; arrays are traced, all else is held fixed.
        rounds: in each, both run; which one is first alternates.
        seconds: after which no round begins, from the third on.
    """
    arrays, fill = traceable(args)
    arrays = jax.device_put(arrays)
    programs = [
        jax.jit(lambda arrays, f=f: f(*fill(arrays))).lower(arrays).compile()
        for f in (hand, plain)
    ]

    def timed(i, count):
        start = time.perf_counter()
        for _ in range(count):
            jax.block_until_ready(programs[i](arrays))
        return (time.perf_counter() - start) / count

    warm = [min(timed(i, 1) for _ in range(2)) for i in (0, 1)]
    count = min(max(1, round(SHORTEST / min(warm))), 100)
    stop = time.perf_counter() + seconds
    pairs: list[tuple] = []
    while len(pairs) < rounds and (len(pairs) < 3 or time.perf_counter() < stop):
        order = (0, 1) if len(pairs) % 2 else (1, 0)
        took = {i: timed(i, count) for i in order}
        pairs.append((took[0], took[1]))
    table = np.array(pairs)
    low, middle, high = np.quantile(table[:, 0] / table[:, 1], [0.25, 0.5, 0.75])
    return Costs(
        Pair(*map(float, np.median(table, 0))),
        (float(low), float(middle), float(high)),
        _temporary(programs),
    )


def measure(loss: Callable, *args, rounds: int = 15, seconds: float = 2.0) -> Costs:
    """`costs` of a loss and its gradient, rules in force against rules ignored.

    Args:
        loss: returns a scalar, or a pair of a scalar and anything else.
        *args: its arguments, in the dtypes that are to be measured. Floating-point arrays
            in them are differentiated.
        rounds: as for `costs`.
        seconds: as for `costs`.
    """
    plain = autodiff(loss)

    def gradient(f):
        def both(*args):
            p = problem(f, args)

            def scalar(leaves):
                value, *rest = p.f(*leaves)
                return value, rest

            return jax.value_and_grad(scalar, has_aux=True)(p.leaves)

        return both

    found = costs(gradient(loss), gradient(plain), *args, rounds=rounds, seconds=seconds)
    return found._replace(
        held=Pair(residuals(loss, *args).total, residuals(plain, *args).total)
    )


class CostTable(NamedTuple):
    """What each op holds for its backward pass, and what autodiff would hold."""

    rows: tuple[tuple[str, str, Residuals, Residuals], ...]

    def __str__(self) -> str:
        """A line an op, within 80 columns."""
        head = ("op", "hand", "new", "autodiff", "new", "ratio")
        wide = max(len(row[0]) for row in [head, *self.rows])
        lines = [
            f"{cells[0]:{wide}} " + " ".join(f"{cell:>9}" for cell in cells[1:])
            for cells in [head, *self._cells()]
        ]
        return "\n".join([*lines, LEGEND])

    def markdown(self) -> str:
        """The same as a table of a page."""
        lines = [
            "| op | hand | new | autodiff | new | ratio |",
            "|---|--:|--:|--:|--:|--:|",
        ]
        lines += [f"| {' | '.join(cells)} |" for cells in self._cells()]
        return "\n".join([*lines, "", LEGEND])

    def _cells(self):
        for name, _, mine, plain in self.rows:
            sums = (mine.total, mine.computed, plain.total, plain.computed)
            yield (name, *map(str, sums), ratio(Pair(mine.total, plain.total)))


LEGEND = """\
Bytes held from forward to backward pass, in float32, by the hand-written rule
and by autodiff of the same code. New is what is no argument and no output."""


def cost_table(names: Iterable[str] = ()) -> CostTable:
    """What ops hold for the backward pass, each on the case where autodiff holds most.

    Args:
        names: of ops; empty means all.

    Raises:
        ValueError: if there is no op of some name.
    """
    return CostTable(tuple(_largest(op) for op in discover(names)))


def _largest(op: Op):
    with jax.enable_x64(True):
        cases = op.cases(np.random.default_rng(0))
    rows = []
    with jax.enable_x64(False), np.errstate(over="ignore"):
        for case, args in cases.items():
            args = cast(args, jnp.float32)
            plain = residuals(autodiff(op.apply), *args)
            rows.append((op.name, case, residuals(op.apply, *args), plain))
    return max(rows, key=lambda row: row[3].total)


def _temporary(programs):
    try:
        return Pair(*(p.memory_analysis().temp_size_in_bytes for p in programs))
    except (AttributeError, NotImplementedError):  # not every backend tells
        return None


def ratio(pair: Pair) -> str:
    """Hand over plain, to two places."""
    return f"{pair.hand / pair.plain:.2f}" if pair.plain else "-" if pair.hand else "1.00"


def _seconds(t):
    return f"{1e3 * t:.2f} ms" if t < 1 else f"{t:.2f} s"


def _bytes(n):
    unit = "B"
    for larger in ("kB", "MB", "GB"):
        if n >= 1000:
            n, unit = n / 1000, larger
    return f"{n:,.0f} B" if unit == "B" else f"{n:.1f} {unit}"
