"""Many ratios in a few: a mean for each group, against its goal."""

import math
from typing import NamedTuple

from benchmarks.results import Row

# By how much each group is to beat autodiff, and the least for any one shape.
GOALS = {
    ("conv", "filter"): 2.0,
    ("conv", "vjp"): 1.5,
    ("depthwise", "vjp"): 10.0,
    ("max_pool", "vjp"): 4.0,
    ("avg_pool", "vjp"): 1.3,
    ("norms", "vjp"): 1.4,
    ("cross entropy", "vjp"): 1.5,
    ("dense", "vjp"): 1.0,
    ("activations", "vjp"): 1.0,
}
LEAST = 0.95


class Line(NamedTuple):
    """The geometric mean of a group's ratios for one kind of work.

    Attributes:
        group: as in the rows.
        kind: likewise.
        shapes: how many there are.
        mean: of their ratios.
        goal: for the mean, or None.
        slowest: the row with the smallest ratio.
    """

    group: str
    kind: str
    shapes: int
    mean: float
    goal: float | None
    slowest: Row

    @property
    def verdict(self) -> str:
        """Whether the goal is reached, to two digits as the table has them."""
        if self.goal is None:
            return ""
        return "reached" if round(self.mean, 2) >= self.goal else "missed"


def summarise(rows) -> list[Line]:
    """A line for each group and kind, in the order of the rows."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.group, row.kind), []).append(row)
    order = list(dict.fromkeys(group for group, _ in groups))
    return [
        Line(
            group,
            kind,
            len(found),
            math.exp(sum(math.log(row.ratio) for row in found) / len(found)),
            GOALS.get((group, kind)),
            min(found, key=lambda row: row.ratio),
        )
        for (group, kind), found in sorted(
            groups.items(), key=lambda item: order.index(item[0][0])
        )
    ]


def slow(rows) -> list[Row]:
    """The rows below what any shape is to reach, the slowest first."""
    return sorted((r for r in rows if r.ratio < LEAST), key=lambda row: row.ratio)
