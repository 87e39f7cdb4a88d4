"""What is printed of training steps."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.results import Cost, Row
from benchmarks.steps.race import JAX_PEERS
from benchmarks.tables import cells, cost_cells, header, lines, milli

HEAD = header(("with", "ms", "ratio", "spread"), "model and shape of its batch")
COST_HEAD = header(("", "Flax", "funcnn", "ratio"), "model")
LEGEND = """\
Times are medians, in milliseconds, of a whole training step: forward, backward
and SGD with momentum. The ratio is how many times as long a step takes as
funcnn's; above 1 funcnn is faster. It is the median over paired rounds, the
spread the distance of their quartiles."""
COSTS = """\
Milliseconds to trace and compile the step, and megabytes that it needs besides
its arguments and outputs. The ratio is Flax over funcnn."""


class Best(NamedTuple):
    """A model's fastest peer on JAX, and PyTorch; None for what was not run."""

    case: str
    jax: Row | None
    pytorch: Row | None


def best(rows: Sequence[Row]) -> list[Best]:
    """For each model, the peers that count."""
    found = []
    for case in dict.fromkeys(row.case for row in rows):
        mine = [row for row in rows if row.case == case]
        on_jax = [row for row in mine if row.kind in JAX_PEERS]
        torch = next((row for row in mine if row.kind == "pytorch"), None)
        found.append(Best(case, min(on_jax, key=lambda r: r.rival, default=None), torch))
    return found


def mean(rows: Sequence[Row | None]) -> float | None:
    """The geometric mean of ratios, if there are any."""
    ratios = [row.ratio for row in rows if row]
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None


def model_lines(rows: Sequence[Row]) -> str:
    """A model beside the time of each library."""
    first = rows[0]
    mine = ("funcnn", milli(first.mine), "", "")
    return lines(first.case, first.network, [mine, *map(cells, rows)])


def summary_text(rows: Sequence[Row]) -> str:
    """A line a model: ratios to the best JAX peer and to PyTorch."""
    found = [f"{'model':14} {'best JAX peer':20} {'PyTorch':>7}"]
    for line in summary_cells(rows):
        found.append(f"{line[0]:14} {line[1]:>5} {line[2]:14} {line[3]:>7}".rstrip())
    return "\n".join(found)


def summary_cells(rows: Sequence[Row]) -> list[tuple[str, str, str, str]]:
    """A model, the ratio to its best JAX peer, which that is, the ratio to PyTorch."""
    models = best(rows)
    means = (mean([m.jax for m in models]), mean([m.pytorch for m in models]))
    told = [
        (
            m.case,
            two(m.jax and m.jax.ratio),
            m.jax.kind if m.jax else "",
            two(m.pytorch and m.pytorch.ratio),
        )
        for m in models
    ]
    return [*told, ("mean", two(means[0]), "", two(means[1]))]


def two(ratio: float | None) -> str:
    """A ratio to two places, or a dash."""
    return "-" if ratio is None else f"{ratio:.2f}"


def costs_text(costs: Sequence[Cost]) -> str:
    """Compile time and memory of each model's step, against Flax."""
    found = [COST_HEAD]
    for case in dict.fromkeys(cost.case for cost in costs):
        right = [cost_cells(cost) for cost in against_flax(costs) if cost.case == case]
        found.append(lines(case, "", right))
    return "\n".join([*found, "", COSTS])


def against_flax(costs: Sequence[Cost]) -> list[Cost]:
    """Those that `costs_text` tells."""
    return [
        cost._replace(what=cost.what.removeprefix("flax "))
        for cost in costs
        if cost.what.startswith("flax ")
    ]


def markdown(rows: Sequence[Row], costs: Sequence[Cost]) -> str:
    """The summary, all rows and the costs as tables of a page."""
    parts = ["| model | best JAX peer | PyTorch |", "|---|---|--:|"]
    for case, ratio, peer, torch in summary_cells(rows):
        parts.append(f"| {case} | {ratio} {peer} | {torch} |".replace("  ", " "))
    parts += ["", "Means are geometric.", ""]
    parts += ["| model | batch | with | ms | ratio | spread |", "|---|---|---|--:|--:|--:|"]
    before = ""
    for row in rows:
        if row.case != before:
            before, shape = row.case, row.network.removeprefix("batch ")
            parts.append(f"| {row.case} | {shape} | funcnn | {milli(row.mine)} | | |")
        parts.append(f"| | | {' | '.join(cells(row))} |")
    parts += ["", LEGEND]
    if against_flax(costs):
        parts += ["", "| model | | Flax | funcnn | ratio |", "|---|---|--:|--:|--:|"]
        for cost in against_flax(costs):
            parts.append(f"| {cost.case} | {' | '.join(cost_cells(cost))} |")
        parts += ["", COSTS]
    return "\n".join(parts)
