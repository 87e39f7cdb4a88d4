"""What is likely wrong with a cotangent, from the pattern in which it is wrong.

A pattern is a guess of what the rule computes, made of what it should compute, of the
arguments and outputs, and of the outputs' cotangents. It counts if it holds for all of
these together and leaves no element further from the rule's than `tolerance` times the
largest discrepancy, after each cotangent is scaled to the same size: a wrong guess leaves
a rest as large as the discrepancy, and rounding one that is smaller by far. A guess with
numbers fitted must explain more numbers than it has. The simplest that counts is told.
"""

import re

import numpy as np

from funcnn.verify.faults import _fault_elements as elements
from funcnn.verify.faults import _fault_terms as terms
from funcnn.verify.faults import _fault_whole as whole
from funcnn.verify.faults._fault_case import Case

PATTERNS = (
    whole.zero,
    whole.sign,
    whole.other,
    whole.passed,
    whole.moved,
    whole.levelled,
    whole.constant,
    whole.value,
    whole.slope,
    whole.any_constant,
    whole.transposed_factor,
    terms.not_summed,
    terms.of_outputs,
    whole.rounded,
    elements.local,
    terms.term,
    elements.misplaced,
    whole.uneven,
)


def likely_fault(got, want, leaf, names, values, dys, tolerance=1e-6) -> str | None:
    """The pattern in which a cotangent is wrong, in a few words.

    Args:
        got: for each floating-point argument, an array of shape `(K, *shape)`: its
            cotangents by the rule, for K different cotangents of the outputs.
        want: those that are right.
        leaf: the index of the argument at fault.
        names: what the arguments are called.
        values: the arguments and outputs themselves, by name; outputs come last.
        dys: for each output its K cotangents, of shape `(K, *shape)`.
        tolerance: what a pattern may leave unexplained, relative to the discrepancy.

    Returns:
        Words that complete "The likely fault: ...", or None if no pattern is found.
    """
    with np.errstate(all="ignore"):
        c = Case.of(got, want, leaf, names, values, dys, tolerance)
        lost = (np.isfinite(want[leaf]) & ~np.isfinite(got[leaf])).any(0)
        if lost.any():
            return elements.not_finite(c, lost)
        if not c.size:
            return None
        return next(filter(None, (pattern(c) for pattern in PATTERNS)), None)


def shape_fault(message: str) -> str | None:
    """What is wrong with a custom rule, from what JAX says of what it returns."""
    if "must produce a pair" in message:
        return "the forward rule does not return a pair, of the output and residuals"
    if found := re.search(
        r"output structure (.*) for primal input structure (.*)", message
    ):
        got, want = map(_arity, found.groups())
        if got is None:
            return "the backward rule does not return a tuple, of a cotangent an argument"
        if got != want:
            return f"the backward rule returns {got} cotangents for {want} arguments"
        return "the cotangent of a tree has another structure than the tree"
    pattern = r"output of type \w+\[(.*?)\] corresponding to an input of type \w+\[(.*?)\]"
    if found := re.search(pattern, message):
        got, want = (
            tuple(map(int, re.findall(r"(\d+)(?:@\w+)?", s))) for s in found.groups()
        )
        return f"{_reshaped(got, want)}: it is {got}, should be {want}"
    return None


def _arity(structure):
    """How many arguments or cotangents a tree is of, as JAX prints it."""
    inner = structure.removeprefix("PyTreeDef(").rstrip(".").removesuffix(")")
    if not inner.startswith("("):
        return None
    depth, count = 0, 0
    for a in inner[1:-1].rstrip(","):
        depth += (a in "([{") - (a in ")]}")
        count += a == "," and not depth
    return count + (inner != "()")


def _lengths(shape):
    return tuple(int(n.split("@")[0]) for n in shape.split(",") if n)


def _reshaped(got, want):
    """What was done to an array's axes, by its shape and that it should have."""
    if sorted(got) == sorted(want):
        return "the cotangent is transposed"
    if [n for n in got if n > 1] == [n for n in want if n > 1]:
        return "the cotangent has other axes of size 1"
    if np.prod(got) == np.prod(want):
        return "the cotangent is not reshaped"
    for text, small, large in (("few", want, got), ("many", got, want)):
        if _broadcasts(small, large):
            return f"the cotangent is summed over too {text} axes"
    return "the cotangent has another shape"


def _broadcasts(small, large):
    try:
        return np.broadcast_shapes(small, large) == large
    except ValueError:
        return False
