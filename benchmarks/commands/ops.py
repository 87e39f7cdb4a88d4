"""Time funcnn's ops against autodiff of what a JAX user would write."""

import argparse
import sys
import textwrap
from typing import Any

from benchmarks.ops import tables
from benchmarks.ops.cases import KINDS, DisagreementError, describe, draw
from benchmarks.ops.choice import GEOMETRY, chosen, work
from benchmarks.ops.measure import compile_time, memory, timed
from benchmarks.results import (
    BASELINE,
    Cost,
    Run,
    here,
    read,
    regressions,
    uncovered,
    write,
)
from benchmarks.tables import case_lines, cost_cells, header, lines

GIVEN = textwrap.fill(", ".join(f"--{name.replace('_', '-')}" for name in GEOMETRY), 78)
EPILOG = f"""\
examples:
  python -m benchmarks --op conv --shape ResNet-18 --kind filter
  python -m benchmarks --op conv --shape "32,28,28,32 3,3,32,64" --stride 2

A shape in numbers has those of the arrays that do not follow from others: no
bias, no scale, no labels. What else the op is given goes with it, as
{GIVEN}.

kinds: {", ".join(KINDS)}; the last two are a convolution's

See also python -m benchmarks steps --help, for training steps.

Exits with 0, or 1 if numbers differ or --check finds a ratio that fell, or 2 if
the request is wrong."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--op", action="append", default=[], metavar="NAME", help="an op; default: all")
    add("--shape", metavar="TEXT", help="part of a shape's line, or a shape in numbers")
    for name in GEOMETRY:
        add(f"--{name.replace('_', '-')}", help=argparse.SUPPRESS)
    add("--kind", action="append", default=[], metavar="KIND", help="default: all")
    add("--seconds", type=float, default=1.0, help="for each comparison (default 1)")
    add("--rounds", type=int, default=7, help="at least so many (default 7)")
    instead = parser.add_mutually_exclusive_group()
    add = instead.add_argument
    add("--list", action="store_true", help="instead, print the shapes")
    add("--memory", action="store_true", help="instead, tell bytes of the whole VJP")
    add("--compile", action="store_true", help="instead, tell how long it compiles")
    add = parser.add_argument
    add("--json", metavar="FILE", help="write the rows to a file, too")
    add("--markdown", action="store_true", help="print Markdown")
    of_file: dict[str, Any] = {"nargs": "?", "const": str(BASELINE), "metavar": "FILE"}
    add("--save", **of_file, help="keep this run to compare others with")
    add("--check", **of_file, help="fail where a ratio fell since --save")


def run(options: argparse.Namespace) -> int:
    """Do what is asked for, and return the exit status.

    Raises:
        ValueError: saying what makes no sense.
    """
    geometry = {name: getattr(options, name) for name in GEOMETRY}
    given = {name: value for name, value in geometry.items() if value is not None}
    shapes = chosen(options.op, options.shape, given)
    todo = work(shapes, options.kind)
    if options.seconds < 0 or options.rounds < 1:
        raise ValueError("--seconds is at least 0, --rounds at least 1")
    if options.list:
        for shape in shapes:
            print(lines(shape.name, shape.network, []))
        return 0
    if options.memory or options.compile:
        if options.markdown or options.save or options.check:
            raise ValueError("of these, --memory and --compile go with --json alone")
        found = Run((), here(), tuple(costs(shapes, options.memory)))
        if options.json:
            write(options.json, found)
        return 0
    old = read(options.check) if options.check else None
    found, wrong = measure(todo, options)
    if options.markdown:
        print(tables.markdown(found.rows))
    elif found.rows:
        print(f"\n{tables.LEGEND}\n\n{tables.summary_text(found.rows)}")
    for path in (options.json, options.save):
        if path:
            write(path, found)
    for message in wrong:
        print(f"wrong: {message}", file=sys.stderr)
    return 1 if wrong or (old and compare(found, old)) else 0


def measure(todo, options) -> tuple[Run, list[str]]:
    """Time everything, telling each case when it is done; and what was wrong."""
    rows, wrong = [], []
    out = sys.stderr if options.markdown else sys.stdout
    print(header(), file=out)
    for shape, kinds in todo:
        case, found = draw(shape), []
        for kind in kinds:
            try:
                found.append(timed(shape, case, kind, options.seconds, options.rounds))
            except DisagreementError as error:
                wrong.append(str(error))
        if found:
            print(case_lines(found), file=out, flush=True)
        rows += found
    return Run(tuple(rows), here()), wrong


def compare(new: Run, old: Run) -> list[str]:
    """Print what fell since an earlier run, and return it."""
    fallen = regressions(new, old)
    for sentence in fallen:
        print(f"fell: {sentence}", file=sys.stderr)
    others = {name: old.about.get(name) for name in ("jax", "processor", "cores")}
    if others != {name: new.about[name] for name in others}:
        print(f"The earlier run was on another machine or JAX: {others}", file=sys.stderr)
    alone = len(uncovered(new, old))
    print(f"{len(fallen)} ratios fell; {alone} are in one of the runs alone.")
    return fallen


def costs(shapes, of_memory: bool) -> list[Cost]:
    """Print and return bytes, or compile times, of each shape's whole VJP."""
    everything = []
    print(header(("", "plain", "funcnn", "ratio")))
    for shape in shapes:
        case = describe(shape)
        found = memory(case) if of_memory else [compile_time(case)]
        cells = list(map(cost_cells, found))
        print(lines(shape.name, shape.network, cells), flush=True)
        everything += [cost._replace(case=shape.name) for cost in found]
    print(f"\n{tables.BYTES if of_memory else tables.COMPILING}")
    return everything
