"""Put the results of two runs into the documentation."""

import argparse
from pathlib import Path
from typing import Any

from benchmarks import plot
from benchmarks.ops import tables
from benchmarks.results import Run, read
from benchmarks.steps import tables as step_tables

DOCS = Path(__file__).parents[2] / "docs"
MARK = "<!-- what follows is written by make bench -->"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("ops", metavar="OPS.json", help="written by python -m benchmarks ops --json")
    add("steps", metavar="STEPS.json", help="likewise, by python -m benchmarks steps")
    add("--docs", default=str(DOCS), metavar="FOLDER", help="where benchmarks.md is")


def run(options: argparse.Namespace) -> int:
    """Write the page's results and its picture, and return 0.

    Raises:
        ValueError: if a run or the page is not there.
    """
    ops, steps = read(options.ops), read(options.steps)
    page = Path(options.docs) / "benchmarks.md"
    if not page.exists():
        raise ValueError(f"there is no page {page}")
    text, _, _ = page.read_text().partition(MARK)
    plot.draw(page.with_suffix(".png"), ops.rows, steps.rows)
    page.write_text(f"{text.rstrip()}\n\n{MARK}\n\n{results(ops, steps)}\n")
    return 0


def results(ops: Run, steps: Run) -> str:
    """Both runs in Markdown."""
    parts = [
        "## Results",
        "![Ratios of ops and of training steps](benchmarks.png)",
        "Bars to the right of 1 are where funcnn is the faster one.",
        "### Ops",
        about(ops.about),
        tables.markdown(ops.rows),
        "### Training steps",
        about(steps.about),
        step_tables.markdown(steps.rows, steps.costs),
    ]
    return "\n\n".join(parts)


def about(facts: dict[str, Any]) -> str:
    """Where and when a run was made, in a sentence."""
    facts = dict(facts)
    cores, processor, date = (facts.pop(name) for name in ("cores", "processor", "date"))
    versions = ", ".join(f"{name} {number}" for name, number in facts.items())
    return f"Measured on {date} with {versions}, on {cores} cores of {processor}."
