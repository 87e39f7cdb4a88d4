"""What the examples share: the options of their command lines."""

import argparse


def parser(description: str, steps: int, out: str | None = None):
    """Return a parser of the options that the examples have in common."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument(
        "--steps", type=positive, default=steps, help="how long to train (%(default)s)"
    )
    made.add_argument(
        "--seed", type=natural, default=0, help="decides all that is random (%(default)s)"
    )
    if out:
        made.add_argument(
            "--out", default=out, metavar="PNG", help="the picture to write (%(default)s)"
        )
    return made


def natural(text: str) -> int:
    """A number of at least 0."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"needs to be at least 0; got {number}")
    return number


def positive(text: str) -> int:
    """A number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"needs to be at least 1; got {number}")
    return number
