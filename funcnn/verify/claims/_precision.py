"""The function in the dtypes given, beside itself in float64."""

import jax.numpy as jnp
import numpy as np

from funcnn.verify.claims._case_numbers import CaseNumbers
from funcnn.verify.claims._checks import bounds
from funcnn.verify.claims._compare_arrays import ClaimFails, element, worst
from funcnn.verify.functions._cotangents import ROUNDED
from funcnn.verify.programs._numbers import Numbers


def rounded_alike(e: CaseNumbers, given: Numbers, key, i, what, name, got, want, theirs):
    """Disprove that numbers in low precision are those in float64, but for rounding.

    The reference's own error in that precision is the yardstick, and what noise of that
    size does to it. An element that the reference cannot represent is left out.
    """
    s = e.exact
    rows = ... if key == "value" else np.array(ROUNDED)
    low, exact = got[i][rows], want[i][rows]
    info = jnp.finfo(low.dtype)
    eps = max(float(info.eps), given.eps)
    peer = exact if isinstance(theirs, Exception) else theirs[i][rows]
    peer = np.asarray(peer, np.float64)
    low, exact = np.asarray(low, np.float64), np.asarray(exact, np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        top = np.abs(exact[np.isfinite(exact)]).max(initial=0.0)
        room = 4 * eps * (np.abs(exact) + top) + 4 * float(info.tiny)
        room += 2 * np.nan_to_num(np.abs(peer - exact), posinf=0.0)
        bad = ~(np.abs(low - exact) <= room) & (low != exact)
        bad &= np.isfinite(exact) & np.isfinite(peer) & ~(np.abs(low - peer) <= room)
    if bad.any():
        # where digits are few, noise of many times epsilon would excuse too much
        ends = bounds(e, s, "theirs", key, i, eps / 4)
        if ends is not None:
            low_end, high_end = (np.asarray(b)[rows] for b in ends)
            width = high_end - low_end + room
            bad &= ~((low >= low_end - width) & (low <= high_end + width))
    if bad.any():
        at, g, w = worst(bad, low, exact)
        at = at if key == "value" else at[1:]
        raise ClaimFails(
            f"{what} is off by more than rounding: {element(at)}it is {g:.6g}, should be "
            f"{w:.6g}.",
            name, at, g, w,
        )  # fmt: skip
