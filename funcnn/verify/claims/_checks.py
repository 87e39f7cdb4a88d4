"""What claims ask of the evidence, in common."""

import numpy as np

from funcnn.verify.claims._case_numbers import CaseNumbers
from funcnn.verify.claims._compare_arrays import ClaimFails, agree
from funcnn.verify.faults._diagnosis import shape_fault
from funcnn.verify.functions._phrases import said
from funcnn.verify.programs._numbers import Numbers


def numbers(e: CaseNumbers, key, how):
    """The function's exact numbers, or a ClaimFails if it raises."""
    got = e.exact.mine[key]
    if isinstance(got, Exception):
        raise ClaimFails(
            f"{e.op.name} {how}raises {said(got)}.", fault=shape_fault(str(got))
        )
    return got


def outputs(s: Numbers) -> list[str]:
    """What the outputs are called."""
    count = len(s.outputs)
    return ["the output"] if count == 1 else [f"output {i}" for i in range(count)]


def bounds(e, s, whose, key, i, eps=None, rows=None):
    """What rounding alone may make of leaf or output `i`, or None where that's unknown."""
    try:
        low, high = s.spread(whose, key, eps)
    except Exception as error:  # an operation that cannot be run with noise
        e.note(f"Rounding could not be measured: {said(error)}. Tolerances are fixed ones.")
        return None
    return (low[i], high[i]) if rows is None else (low[i][:rows], high[i][:rows])


def same_type(what, got, want, argument):
    """Disprove that an array has the shape and dtype it should have."""
    if (got.shape, got.dtype) != (want.shape, want.dtype):
        raise ClaimFails(
            f"{what} is {got.dtype}{got.shape}, should be {want.dtype}{want.shape}.",
            argument,
        )


def note_poles(e: CaseNumbers, name, got, want):
    """Say where only the reference is not finite."""
    count = int((np.isfinite(got) & ~np.isfinite(want)).sum())
    if count:
        e.note(f"The reference's {name} is not finite in {count} of {want.size} elements, "
               f"where {e.op.name}'s is: nothing is claimed of these.")  # fmt: skip


def like_plain(e: CaseNumbers, how, got, points) -> float:
    """Compare with the pullback as it is at these points."""
    s = e.exact
    plain = numbers(e, "vjp", "")
    error = 0.0
    for i, name in enumerate(e.names):
        want = plain[i][points] if len(points) > 1 else plain[i][points[0]]
        what = f"{e.op.name} {how}: the cotangent of {name}"
        same_type(what, got[i], want, name)

        def rounding(i=i):
            found = bounds(e, s, "mine", "vjp", i)
            return found and tuple(
                b[points] if len(points) > 1 else b[points[0]] for b in found
            )

        error = max(error, agree(what, name, got[i], want, s.eps, rounding))
    return error
