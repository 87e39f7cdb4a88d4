"""The verifier's command line: `python -m funcnn.verify --help`."""

import argparse
import gc
import os
import sys
import textwrap
import time

from funcnn.verify.check._ops import check_ops
from funcnn.verify.claims._claims import CLAIMS
from funcnn.verify.command._find_function import checker, known
from funcnn.verify.functions._op import discover
from funcnn.verify.functions._spec import GRAMMAR
from funcnn.verify.measures._costs import CostTable, cost_table
from funcnn.verify.report._report import Report
from funcnn.verify.report._text_tables import meaning
from funcnn.verify.transformations._matrix import eight_devices, matrix

USAGE = """\
python -m funcnn.verify [options] [op ...]
       python -m funcnn.verify [options] module:function --args ARGS"""
DESCRIPTION = """\
Check hand-written gradients: those of all of funcnn's ops, of the ops named, or
that of a function of yours with a jax.custom_vjp in it."""
EPILOG = """\
examples:
  python -m funcnn.verify conv relu --claims vjp,diff
  python -m funcnn.verify rules:take --args "f32[10,8]>0 i32[4]<10 'SAME'"

ARGS, separated by spaces:
{grammar}

claims, each with its worst relative error in float64:
{claims}

Exits with 0 if all claims hold, 1 if one does not, 2 if the request is wrong."""


def main(argv=None) -> int:
    """Print what was found, and return the exit status."""
    options = parser().parse_intermixed_args(argv)
    start = time.perf_counter()
    try:
        run = choose(options)
    except ValueError as error:
        first, *rest = str(error).splitlines()
        print("\n".join([textwrap.fill(f"error: {first}", 80), *rest]), file=sys.stderr)
        return 2
    text, ok = run()
    print(text, flush=True)
    hint = "" if options.matrix or options.costs else " For what is claimed, see --help."
    print(f"Took {time.perf_counter() - start:.0f} s.{hint}", file=sys.stderr)
    return 0 if ok else 1


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    claims = "\n".join(
        textwrap.fill(f"  {name:6} {meaning(name)}", 80, subsequent_indent=" " * 9)
        for name in CLAIMS
    )
    made = argparse.ArgumentParser(
        prog="python -m funcnn.verify",
        usage=USAGE,
        description=DESCRIPTION,
        epilog=EPILOG.format(grammar=textwrap.indent(GRAMMAR, "  "), claims=claims),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("targets", nargs="*", metavar="op", help="default: all; or module:function")
    add("--op", action="append", default=[], help="an op, as without --op")
    add("--args", help="for a function: what to call it on")
    add("--reference", metavar="FUNCTION", help="for a function: module:definition")
    add("--claims", default="", help="judge these alone, as in vjp,diff")
    add("--seed", type=int, default=0, help="of all random numbers")
    add("--fail-fast", action="store_true", help="stop at the first case that fails")
    add("--time", action="store_true", help="tell the seconds that each op took")
    instead = made.add_mutually_exclusive_group()
    instead.add_argument(
        "--matrix", action="store_true", help="instead, run ops in every transformation"
    )
    instead.add_argument(
        "--costs", action="store_true", help="instead, tell the bytes that ops hold"
    )
    formats = made.add_mutually_exclusive_group()
    formats.add_argument("--json", action="store_true", help="print JSON")
    formats.add_argument("--markdown", action="store_true", help="print Markdown")
    add("--color", choices=["auto", "always", "never"], default="auto")
    return made


def choose(options):
    """What is asked for, as a function that returns a text and whether all is well.

    Raises:
        ValueError: saying what makes no sense.
    """
    functions = [target for target in options.targets if ":" in target]
    names = [target for target in options.targets if ":" not in target] + options.op
    claims = options.claims.replace(",", " ").split()
    known("claim", claims, CLAIMS)
    if options.seed < 0:
        raise ValueError(f"--seed is at least 0; got {options.seed}")
    if functions and (names or functions[1:]):
        raise ValueError("name ops, or one function: not both, and not several functions")
    if functions and (options.matrix or options.costs):
        raise ValueError("--matrix and --costs are for ops")
    if functions:
        check = checker(functions[0], options.reference, options.args, options.seed, claims)
        return lambda: tell(check(), options)
    if options.args is not None or options.reference:
        raise ValueError("--args and --reference are for a module:function; there is none")
    ops = [op.name for op in discover()]
    known("op", names, ops)
    names = list(dict.fromkeys(names)) or ops
    if options.costs and options.json:
        raise ValueError("--costs is not to be had as --json")
    if options.costs:
        form = CostTable.markdown if options.markdown else str
        return lambda: (form(cost_table(names)), True)
    if options.matrix:
        eight_devices()
        return lambda: tell(matrix(names, show), options)
    return lambda: tell(judge(names, claims, options), options)


def judge(names, claims, options) -> Report:
    """Check ops, all at once; or one by one, which is slower, to tell each one's time."""
    reports = []
    for group in [[name] for name in names] if options.time else [names]:
        start = time.perf_counter()
        report = check_ops(group, options.seed, show, claims, options.fail_fast)
        reports.append(report)
        show(0, 0)
        if options.time:
            print(f"{time.perf_counter() - start:6.1f} s  {group[0]}", file=sys.stderr)
        if options.fail_fast and not report.ok:
            break
    rows = tuple(row for report in reports for row in report.rows)
    notes = tuple(dict.fromkeys(note for report in reports for note in report.notes))
    cases = len({(row.subject, row.case) for row in rows})
    title = f"{len(reports)} op{'s' * (len(reports) != 1)}, {cases} cases"
    return Report(title, rows, notes) if options.time else reports[0]


def tell(report, options):
    """A report as it is to be printed, and whether all claims hold."""
    if options.json:
        return report.to_json(), report.ok
    if options.markdown:
        return report.to_markdown(), report.ok
    auto = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    color = options.color == "always" or (options.color == "auto" and auto)
    return report.render(color), report.ok


def show(done: int, total: int) -> None:
    """Keep one line of the terminal up to date, and wipe it at the end."""
    if sys.stderr.isatty():
        text = f"{done} of {total}" if done < total else ""
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    # traced programs are many small objects that live long: at Python's usual pace, going
    # through them all for cycles takes a tenth of the time
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
    sys.exit(main())
