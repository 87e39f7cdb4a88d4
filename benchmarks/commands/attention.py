"""Time attention against the functions that JAX and PyTorch have for it."""

import argparse
import sys
from functools import partial

import jax
import numpy as np

from benchmarks.ops.cases import DisagreementError, agree, draw, program
from benchmarks.ops.shapes import Shape, all_shapes
from benchmarks.steps.race import installed
from benchmarks.tables import milli
from benchmarks.timing import paired, ratio

PEERS = ("jax", "pytorch")
SHAPES = {
    shape.network: shape
    for shape in all_shapes()
    if shape.op == "attention" and "window" not in shape.options
}
LEGEND = """\
Milliseconds of the forward pass and the cotangents of q, k and v, against
jax.nn.dot_product_attention and PyTorch's scaled_dot_product_attention; then
how many times as long a peer takes as funcnn: above 1 funcnn is faster."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = f"shapes: {'; '.join(SHAPES)}"
    add = parser.add_argument
    add("--shape", action="append", default=[], metavar="NAME", help="default: the first")
    add("--seconds", type=float, default=3.0, help="for each shape (default 3)")


def run(options: argparse.Namespace) -> int:
    """Print a line for each shape and peer; return 0, or 1 if numbers differ.

    Raises:
        ValueError: if there is no such shape.
    """
    for name in options.shape:
        if name not in SHAPES:
            raise ValueError(f"no shape {name!r}; there are {'; '.join(SHAPES)}")
    peers = ["jax", *installed(["pytorch"])]
    for name in options.shape or [next(iter(SHAPES))]:
        try:
            print("\n".join(lines(SHAPES[name], peers, options.seconds)), flush=True)
        except DisagreementError as error:
            print(f"wrong: {name}: {error}", file=sys.stderr)
            return 1
    print(LEGEND)
    for peer in set(PEERS) - set(peers):
        print(f"{peer}: not installed", file=sys.stderr)
    return 0


def lines(shape: Shape, peers, seconds: float) -> list[str]:
    """The shape, and a line for funcnn and each peer.

    Raises:
        DisagreementError: if the numbers are not the same.
    """
    case = draw(shape)
    both = case.mine, partial(jax.nn.dot_product_attention, is_causal=causal(shape))
    steps = [partial(jax.jit(both_passes(f, case)), case.args, case.dy) for f in both]
    if "pytorch" in peers:
        steps.append(in_torch(shape, case))
    first, *others = (step() for step in steps)
    for other in others:
        agree(other, first)
    table = paired(steps, seconds)
    told = [f"{shape.network}  {shape.spec}"]
    for i, who in enumerate(("funcnn", *peers)):
        _, middle, _ = ratio(table[:, i], table[:, 0])
        told.append(f"  {who:10}{milli(float(np.median(table[:, i]))):>8}{middle:8.2f}")
    return told


def causal(shape: Shape) -> bool:
    """Whether a query sees no later key."""
    return shape.options.get("causal", False)


def both_passes(f, case):
    """`g(args, dy)`: the value, so that no forward pass is left out, and cotangents."""
    pull = program(f, case, "vjp")
    return lambda args, dy: (f(*args), *pull(args, dy).values())


def in_torch(shape: Shape, case):
    """The same in PyTorch, a thread for each core."""
    import os

    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    arrays = [torch.from_numpy(np.array(a)).transpose(1, 2) for a in (*case.args, case.dy)]
    *args, dy = arrays
    grouped = shape.arrays[0][2] != shape.arrays[1][2]

    def step():
        given = [a.detach().requires_grad_() for a in args]
        y = torch.nn.functional.scaled_dot_product_attention(
            *given, is_causal=causal(shape), enable_gqa=grouped
        )
        grads = torch.autograd.grad(y, given, dy)
        return tuple(a.detach().transpose(1, 2) for a in (y, *grads))

    return step
