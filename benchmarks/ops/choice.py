"""Which shapes and kinds of work a command line asks for."""

import re

from benchmarks.ops import plain
from benchmarks.ops.cases import KINDS, describe, kinds
from benchmarks.ops.shapes import Shape, all_shapes, parse_array, parse_option
from funcnn import ops

GEOMETRY = (
    *("window", "kernel_size", "stride", "padding", "dilation", "groups", "axes"),
    "causal",
)


def known(what: str, names, among) -> None:
    """Check names.

    Raises:
        ValueError: if one is not known.
    """
    among = list(among)
    for name in names:
        if name not in among:
            raise ValueError(f"no {what} {name!r}; there are {', '.join(among)}")


def chosen(names: list[str], text: str | None, geometry: dict[str, str]) -> list[Shape]:
    """The shapes of some ops.

    Args:
        names: of ops; empty means all.
        text: part of a shape's network or spec, or the arrays of a shape that is not
            among ours, as in "32,28,28,32 3,3,32,64".
        geometry: what else the op is given at such a shape, by name.

    Raises:
        ValueError: if there is no such op or shape, or the request makes no sense.
    """
    shapes = all_shapes()
    rivals = {name for name in vars(ops) if hasattr(plain, name) and name[0] != "_"}
    known("op", names, sorted(rivals))
    if text is not None and "," in text and re.fullmatch(r"[\d, ]+", text):
        if len(names) != 1:
            raise ValueError(f"--shape {text!r} needs one --op")
        arrays = tuple(map(parse_array, text.split()))
        options = {name: parse_option(value) for name, value in geometry.items()}
        shape = Shape(names[0], "given", arrays, options)
        describe(shape)
        return [shape]
    if geometry:
        raise ValueError(
            f"--{next(iter(geometry)).replace('_', '-')} is for a --shape in numbers, "
            'as in "32,28,28,32 3,3,32,64"'
        )
    of_ops = [shape for shape in shapes if not names or shape.op in names]
    found = [s for s in of_ops if (text or "") in f"{s.network} {s.spec}"]
    if not found:
        raise ValueError(f"no shape has {text!r} in it; --list prints them all")
    return found


def work(shapes: list[Shape], wanted: list[str]) -> list[tuple[Shape, list[str]]]:
    """Each shape with the kinds of work to be timed.

    Args:
        shapes: of which those without any such kind are left out.
        wanted: kinds; empty means all that a shape has.

    Raises:
        ValueError: if there is no such kind, or nothing is left.
    """
    known("kind", wanted, KINDS)
    pairs = [(s, [k for k in kinds(s) if not wanted or k in wanted]) for s in shapes]
    found = [pair for pair in pairs if pair[1]]
    if not found:
        raise ValueError(f"these ops have no {' or '.join(wanted)} to time")
    return found
