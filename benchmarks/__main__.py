"""The command line: `python -m benchmarks --help`."""

import argparse
import sys
import textwrap
from importlib import import_module

COMMANDS = ("ops", "steps", "optim", "fit", "profile", "attention", "page")


def main(argv=None) -> int:
    """Run the command that is named first, or `ops`; return the exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    name = argv.pop(0) if argv and argv[0] in COMMANDS else "ops"
    command = import_module(f"benchmarks.commands.{name}")  # page alone needs matplotlib
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks {name}", description=command.__doc__
    )
    command.add_arguments(parser)
    options = parser.parse_args(argv)
    try:
        return command.run(options)
    except ValueError as error:
        print(textwrap.fill(f"error: {error}", 80), file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
