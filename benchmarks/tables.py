"""Rows and costs as lines of 80 columns."""

import textwrap
from collections.abc import Iterable, Sequence
from itertools import zip_longest

from benchmarks.results import Cost, Row

LEFT = 46  # columns for a case
HEAD = ("kind", "plain ms", "ratio", "spread")


def header(head: Sequence[str] = HEAD, first: str = "op, network and shape") -> str:
    """The line above all cases."""
    return f"{first:{LEFT}} {columns(head)}"


def case_lines(rows: Sequence[Row]) -> str:
    """The lines of one case: its names on the left, a kind a line on the right."""
    return lines(rows[0].case, rows[0].network, [cells(row) for row in rows])


def lines(case: str, network: str, right: Iterable[Sequence[str]]) -> str:
    """A case's names beside cells; long names take the lines that they need."""
    op, _, spec = case.partition(" ")
    left = textwrap.wrap(f"{op}  {network}", LEFT - 1, subsequent_indent="  ")
    left += textwrap.wrap(
        spec,
        LEFT - 1,
        initial_indent="  ",
        subsequent_indent="    ",
        break_on_hyphens=False,
    )
    pairs = zip_longest(left, map(columns, right), fillvalue="")
    return "\n".join(f"{a:{LEFT}} {b}".rstrip() for a, b in pairs)


def columns(cells: Sequence[str]) -> str:
    """A kind and three numbers, in the 33 columns on the right."""
    kind, *numbers = cells
    return f"{kind:8}" + "".join(f"{n:>{8 + (i == 0)}}" for i, n in enumerate(numbers))


def cells(row: Row) -> tuple[str, ...]:
    """What is told of a row besides its case."""
    spread = f"{row.high - row.low:.2f}"
    return row.kind, milli(row.rival), f"{row.ratio:.2f}", spread


def cost_cells(cost: Cost) -> tuple[str, ...]:
    """What is told of a cost: which it is, both numbers, and how they relate."""
    form = milli if cost.what.endswith("compile") else mega
    ratio = f"{cost.rival / cost.mine:.2f}" if cost.mine else "-"
    return cost.what, form(cost.rival), form(cost.mine), ratio


def milli(seconds: float) -> str:
    """Three digits, roughly: 0.021, 1.53, 24.5, 310."""
    t = 1e3 * seconds
    return f"{t:.{3 if t < 0.1 else 2 if t < 10 else 1 if t < 100 else 0}f}"


def mega(count: float) -> str:
    """Millions of bytes."""
    return f"{count / 1e6:.3f}" if count < 1e6 else f"{count / 1e6:.1f}"
