"""Rows and summaries as text of 80 columns, or as Markdown."""

import textwrap
from collections.abc import Iterable, Sequence
from itertools import zip_longest

from benchmarks.results import Cost, Row
from benchmarks.summary import LEAST, slow, summarise

LEFT = 46  # columns for a case
HEAD = ("kind", "plain ms", "ratio", "spread")
LEGEND = """\
Times are medians, in milliseconds, of the formulation that autodiff
differentiates. The ratio is how many times as long it takes as funcnn; above 1
funcnn is faster. It is the median over paired rounds, the spread the distance
of their quartiles."""
BYTES = """\
Megabytes of the whole VJP: temp is what the compiled program needs besides
arguments and outputs, held what is kept from the forward pass to the pullback,
and new what of it is neither an argument nor the output. The ratio is plain
over funcnn."""
COMPILING = """\
Milliseconds to trace and compile the whole VJP. The ratio is plain over funcnn."""
SUMMARY = """\
Means are geometric, over the shapes of a group; the slowest shape is the one
with the smallest ratio."""


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


def summary_text(rows: Sequence[Row]) -> str:
    """A line for each group and kind, then the shapes that are too slow."""
    head = f"{'group':14} {'kind':8} {'shapes':>6} {'mean':>6} {'goal':>5}         slowest"
    found = [head]
    for line in summarise(rows):
        goal = "" if line.goal is None else f"{line.goal:g}"
        low = line.slowest
        where = textwrap.shorten(low.network, 22, placeholder="...")
        found.append(
            f"{line.group:14} {line.kind:8} {line.shapes:6} {line.mean:6.2f} {goal:>5} "
            f"{line.verdict:8}{low.ratio:5.2f} {where}"
        )
    return "\n".join([*found, "", slowest_text(rows)])


def slowest_text(rows: Sequence[Row]) -> str:
    """The rows under the least ratio, one by one."""
    found = slow(rows)
    if not found:
        return f"No shape's ratio is below {LEAST}."
    told = [f"Below {LEAST}, which no shape is to be:"]
    for row in found:
        told += textwrap.wrap(
            row.case,
            80,
            initial_indent=f"  {row.ratio:.2f}  {row.kind:8} ",
            subsequent_indent=" " * 17,
        )
    return "\n".join(told)


def markdown(rows: Sequence[Row]) -> str:
    """The summary and all rows as two tables of a page."""
    parts = [
        "| group | kind | shapes | mean | goal | slowest |",
        "|---|---|--:|--:|--:|---|",
    ]
    for line in summarise(rows):
        goal = "" if line.goal is None else f"{line.goal:g}, {line.verdict}"
        low = line.slowest
        slowest = f"{low.ratio:.2f}, {low.network}"
        parts.append(
            f"| {line.group} | {line.kind} | {line.shapes} | **{line.mean:.2f}** | {goal} "
            f"| {slowest} |"
        )
    parts += ["", SUMMARY, ""]
    parts += ["| op | network | shape | kind | plain, ms | ratio | spread |"]
    parts += ["|---|---|---|---|--:|--:|--:|"]
    for row in rows:
        op, _, spec = row.case.partition(" ")
        kind, *numbers = cells(row)
        row_cells = (op, row.network, f"`{spec}`", kind, *numbers)
        parts.append(f"| {' | '.join(row_cells)} |")
    return "\n".join([*parts, "", LEGEND])
