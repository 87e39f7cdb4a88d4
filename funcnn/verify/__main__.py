"""`python -m funcnn.verify [op ...]`: the table of every op, or of those named."""

import argparse
import sys
import time

from funcnn.verify import CLAIMS, check_ops


def main(argv=None) -> int:
    """Print the verification table; return 1 if a claim fails, 2 for an unknown op."""
    legend = "\n".join(
        f"  {name:6} {(claim.__doc__ or '').splitlines()[0]}"
        for name, claim in CLAIMS.items()
    )
    parser = argparse.ArgumentParser(
        prog="python -m funcnn.verify",
        description="Prove the hand-written gradients of funcnn's ops.",
        epilog=f"claims, each with its worst relative error in float64:\n{legend}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("ops", nargs="*", metavar="op", help="default: all")
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers")
    options = parser.parse_args(argv)
    start = time.perf_counter()
    try:
        report = check_ops(options.ops, options.seed, show if sys.stderr.isatty() else None)
    except ValueError as error:
        parser.error(str(error))
    print(report)
    print(f"Took {time.perf_counter() - start:.0f} s. For what is claimed, see --help.")
    return 0 if report.ok else 1


def show(done: int, total: int) -> None:
    """Keep one line of the terminal up to date, and wipe it at the end."""
    text = f"{done} of {total} cases" if done < total else ""
    print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
