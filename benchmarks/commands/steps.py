"""Time whole training steps against those of other libraries."""

import argparse
import sys

from benchmarks.ops.choice import known
from benchmarks.results import Run, here, write
from benchmarks.steps import tables
from benchmarks.steps.models import MODELS
from benchmarks.steps.race import PEERS, DivergenceError, installed, race
from benchmarks.steps.with_funcnn import initial

PACKAGES = {"flax": "flax", "equinox": "equinox", "haiku": "dm-haiku", "pytorch": "torch"}
EPILOG = f"""\
models: {", ".join(MODELS)}
peers: {", ".join(PEERS)}

Exits with 0, or 1 if losses differ, or 2 if the request is wrong."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--model", action="append", default=[], metavar="NAME", help="default: all")
    add("--peer", action="append", default=[], metavar="NAME", help="default: all")
    add("--seconds", type=float, default=3.0, help="for each peer (default 3)")
    add("--rounds", type=int, default=7, help="at least so many (default 7)")
    add("--json", metavar="FILE", help="write the rows to a file, too")
    add("--markdown", action="store_true", help="print Markdown")


def run(options: argparse.Namespace) -> int:
    """Do what is asked for, and return the exit status.

    Raises:
        ValueError: saying what makes no sense.
    """
    known("model", options.model, MODELS)
    known("peer", options.peer, PEERS)
    if options.seconds < 0 or options.rounds < 1:
        raise ValueError("--seconds is at least 0, --rounds at least 1")
    wanted = list(dict.fromkeys(options.peer)) or list(PEERS)
    peers = installed(wanted)
    if not peers:
        raise ValueError(f"not installed: {', '.join(wanted)}")
    found, wrong = measure(
        list(dict.fromkeys(options.model)) or list(MODELS), peers, options
    )
    if options.markdown:
        print(tables.markdown(found.rows, found.costs))
    else:
        parts = [tables.LEGEND, tables.summary_text(found.rows)]
        if tables.against_flax(found.costs):
            parts.append(tables.costs_text(found.costs))
        print("\n" + "\n\n".join(parts))
    for peer in wanted:
        if peer not in peers:
            print(f"{peer}: not installed", file=sys.stderr)
    if options.json:
        write(options.json, found)
    for message in wrong:
        print(f"wrong: {message}", file=sys.stderr)
    return 1 if wrong else 0


def measure(models, peers, options) -> tuple[Run, list[str]]:
    """Train everything, telling each model when it is done; and what was wrong."""
    rows, costs, wrong = [], [], []
    out = sys.stderr if options.markdown else sys.stdout
    print(tables.HEAD, file=out)
    for name in models:
        model = MODELS[name]()
        try:
            found, more = race(
                name, model, initial(model), peers, options.seconds, options.rounds
            )
        except DivergenceError as error:
            wrong.append(f"{name}: {error}")
            continue
        print(tables.model_lines(found), file=out, flush=True)
        rows += found
        costs += more
    about = here([PACKAGES[peer] for peer in peers])
    return Run(tuple(rows), about, tuple(costs)), wrong
