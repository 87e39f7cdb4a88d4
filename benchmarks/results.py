"""What was measured, kept in a file, and compared with what was measured before."""

import datetime
import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax

BASELINE = Path(__file__).parent / "baseline.json"
FALL = 0.2  # the share of a ratio that may be lost, on top of the spreads


class Row(NamedTuple):
    """One comparison. Times are in seconds, ratios those of rival to funcnn.

    Attributes:
        case: what is compared: an op and its shape, or a model.
        network: where it is from.
        group: the line of the summary that it counts in.
        kind: the work that is timed, or whom funcnn is compared with.
        rival: median time of the other program.
        mine: median time of funcnn's.
        low: lower quartile of the rounds' ratios.
        ratio: their median.
        high: upper quartile.
    """

    case: str
    network: str
    group: str
    kind: str
    rival: float
    mine: float
    low: float
    ratio: float
    high: float


class Cost(NamedTuple):
    """A number of the rival's, and the same of funcnn's.

    Attributes:
        what: which number: bytes, but for compile times, which are in seconds.
        rival: the other program's.
        mine: funcnn's.
        case: as in a row.
    """

    what: str
    rival: float
    mine: float
    case: str = ""


class Run(NamedTuple):
    """Rows and costs, and where and when they were measured."""

    rows: tuple[Row, ...]
    about: dict[str, Any]
    costs: tuple[Cost, ...] = ()


def here(packages: Sequence[str] = ()) -> dict[str, Any]:
    """What to know of a run besides its numbers; the versions of other packages, too."""
    return {
        "jax": jax.__version__,
        **{name: version(name) for name in packages},
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "date": datetime.date.today().isoformat(),
    }


def write(path, run: Run) -> None:
    """Save a run as JSON."""
    rows, costs = (
        ",\n".join("  " + json.dumps(rounded(item)) for item in items)
        for items in (run.rows, run.costs)
    )
    about = json.dumps(run.about)
    text = f'{{"about": {about},\n "rows": [\n{rows}\n ],\n "costs": [\n{costs}\n ]}}\n'
    Path(path).write_text(text)


def rounded(row: Row | Cost) -> dict[str, Any]:
    """Four digits are more than a timing has."""
    return {
        name: float(f"{value:.4g}") if isinstance(value, float) else value
        for name, value in row._asdict().items()
    }


def read(path) -> Run:
    """Load a run.

    Raises:
        ValueError: if there is none in this file.
    """
    try:
        data = json.loads(Path(path).read_text())
        rows = tuple(Row(**row) for row in data["rows"])
        return Run(rows, data["about"], tuple(Cost(**cost) for cost in data["costs"]))
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}") from None
    except (TypeError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} does not hold a run of benchmarks: {error}") from error


def regressions(new: Run, old: Run) -> list[str]:
    """A sentence for each case that got slower, against its rival, than it was.

    It counts if the ratio fell by more than a fifth even from the lower quartile of then
    to the upper quartile of now.
    """
    before = {(row.case, row.kind): row for row in old.rows}
    found = []
    for row in new.rows:
        was = before.get((row.case, row.kind))
        if was and row.high < (1 - FALL) * was.low:
            found.append(
                f"{row.case}, {row.kind}: {row.ratio:.2f} ({row.low:.2f} to "
                f"{row.high:.2f}), was {was.ratio:.2f} ({was.low:.2f} to {was.high:.2f})"
            )
    return found


def uncovered(new: Run, old: Run) -> list[str]:
    """The cases that are in one of the runs alone."""
    sides = [{f"{row.case}, {row.kind}" for row in run.rows} for run in (new, old)]
    return sorted(sides[0] ^ sides[1])
