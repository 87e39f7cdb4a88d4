"""What is printed of ops: summaries and legends as text of 80 columns, or as Markdown."""

import textwrap
from collections.abc import Sequence

from benchmarks.ops.summary import LEAST, slow, summarise
from benchmarks.results import Row
from benchmarks.tables import cells

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
