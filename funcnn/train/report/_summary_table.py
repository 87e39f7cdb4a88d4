"""Rows of a summary come in, a table of 80 columns goes out."""

import jax

HEAD = ("output", "params", "bytes", "FLOPs", "kept")
LEGEND = """\
FLOPs are of the forward pass; kept are the bytes that it holds for the backward
pass, of each layer as if it were alone."""


def table(rows, total) -> str:
    """A line for each layer, and for the whole."""
    paths = {tuple(row.path.split("/")) for row in rows}
    names = [label(row, paths) for row in rows] + ["total"]
    cells = [HEAD, *map(cells_of, [*rows, total])]
    wide = [max(len(row[i]) for row in cells) for i in range(len(HEAD))]
    rest = sum(wide) + 2 * len(wide)
    first = min(max(map(len, [*names, "layer"])), max(80 - rest, 12))
    lines = []
    for name, row in zip(["layer", *names], cells, strict=True):
        name = name if len(name) <= first else f"{name[: first - 1]}…"
        right = "".join(f"  {cell:>{w}}" for cell, w in zip(row, wide, strict=True))
        lines.append(f"{name:{first}}{right}")
    step = f"Forward and backward: {short(total.step_flops)} FLOPs"
    if total.temporary is not None:
        step += f", {short(total.temporary)} bytes of temporary memory"
    return "\n".join([*lines, f"{step}.", LEGEND])


def label(row, paths) -> str:
    """Where a layer is, below those of the paths that it is in, and what it is."""
    parts = tuple(row.path.split("/"))
    around = [n for n in range(1, len(parts)) if parts[:n] in paths]
    name = "/".join(parts[max(around, default=0) :])
    often = f" x{row.times}" if parts[-1] == "*" else ""
    return f"{'  ' * len(around)}{name}{often} {row.kind}"


def cells_of(row):
    """The cells after the name."""
    shapes = ["x".join(map(str, a.shape)) or "()" for a in jax.tree.leaves(row.output)]
    numbers = row.params, row.bytes, row.flops, row.kept
    return (" ".join(shapes), *map(short, numbers))


def short(n) -> str:
    """A number in four digits or so."""
    for unit in ("", "k", "M", "G", "T"):
        if abs(n) < 1000 or unit == "T":
            break
        n /= 1000
    return f"{n:.0f}" if not unit else f"{n:.3g}{unit}" if n < 999.5 else f"{n:.0f}{unit}"
