"""Show where the time of a training step goes, beside PyTorch's."""

import argparse
import sys

from benchmarks.ops.choice import known
from benchmarks.steps.models import MODELS
from benchmarks.steps.profile import KINDS, profile
from benchmarks.steps.race import installed
from benchmarks.steps.with_funcnn import initial

LEGEND = """\
Milliseconds of a training step that are spent in the kernels of each kind of
layer, forward and backward. A kernel that computes several things counts as
one of them; "other" is what no kernel accounts for, such as allocation, and
below 0 where kernels ran at the same time."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = f"models: {', '.join(MODELS)}"
    add = parser.add_argument
    add("--model", action="append", default=[], metavar="NAME", help="default: all")


def run(options: argparse.Namespace) -> int:
    """Print a table for each model, and return 0.

    Raises:
        ValueError: if there is no such model.
    """
    known("model", options.model, MODELS)
    libraries = ["funcnn", *installed(["pytorch"])]
    for name in list(dict.fromkeys(options.model)) or list(MODELS):
        model = MODELS[name]()
        params = initial(model)
        found = [profile(library, model, params) for library in libraries]
        print(f"{name:16s}" + "".join(f"{library:>10s}" for library in libraries))
        for kind in ("step", *sorted(KINDS, key=lambda kind: -found[0].get(kind, 0))):
            row = [times.get(kind, 0.0) for times in found]
            if max(row) >= 0.005 * found[0]["step"]:
                print(f"  {kind:14s}" + "".join(f"{ms:10.1f}" for ms in row))
        print(flush=True)
    print(LEGEND)
    if len(libraries) == 1:
        print("pytorch: not installed", file=sys.stderr)
    return 0
