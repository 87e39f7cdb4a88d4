r"""When two arrays of numbers are the same but for rounding.

An element agrees at once if it is within $\max(10^{-10}, 64 \varepsilon)$ of itself, or
within $\max(10^{-13}, 16 \varepsilon)$ of the largest element of its array. If any does
not, rounding is measured (see `_rounding`): an element then agrees if it lies in the
interval that noise spreads the right number over, a quarter wider on both sides.
A rule may also be noisier than its reference, as long as eight digits of the array's
largest element are left to it.
"""

import numpy as np

from funcnn.verify.programs._rounding import EPS


class ClaimFails(AssertionError):  # noqa: N818
    """A claim is false: where, and by which numbers."""

    def __init__(self, text, argument=None, element=None, got=None, want=None, fault=None):
        super().__init__(text + (f" The likely fault: {fault}." if fault else ""))
        self.argument, self.element, self.fault = argument, element, fault
        self.got, self.want = got, want


def off(got, want, eps=EPS, bounds=None, own=None, rows=False):
    """Which elements disagree, and the worst relative error of those that do not.

    Args:
        got: an array.
        want: what it should be, of the same shape.
        eps: the relative rounding of both.
        bounds: a function of no arguments, the lowest and highest that `want` may be for
            rounding alone, or None if that is unknown; called if need be.
        own: the same for `got`.
        rows: whether each row along the first axis has a scale of its own.

    Returns:
        A boolean array, and the worst error that is no disagreement, relative to the
        largest element. Where `want` is not finite, anything that is will do.
    """
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    sizes = np.where(np.isfinite(want), np.abs(want), 0.0)
    axes = tuple(range(int(rows), want.ndim))
    scale = sizes.max(axes, initial=0.0, keepdims=True)
    scale = np.where(scale > 0, scale, 1.0)
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.where(got == want, 0.0, np.abs(got - want))
        allowed = max(1e-10, 64 * eps) * np.abs(want) + max(1e-13, 16 * eps) * scale
        bad = ~(distance <= allowed)
        bad &= ~(np.isnan(want) | (np.isinf(want) & np.isfinite(got)))
        near = np.where(~bad & np.isfinite(distance), distance / scale, 0.0)
        width = allowed
        if bad.any() and bounds and (ends := bounds()):
            low, high = np.fmin(ends[0], want), np.fmax(ends[1], want)
            width = np.maximum(high - low, 4 * allowed)
            bad &= ~((got >= low - width / 4) & (got <= high + width / 4))
        within = bad & (distance <= width + 2e-8 * scale)
        if within.any() and own and (ends := own()):
            noise = np.minimum(ends[1] - ends[0], 1e-8 * scale)
            bad &= ~(distance <= width + 2 * noise)
    return bad, float(near.max(initial=0.0))


def worst(bad, got, want):
    """The element that disagrees most: the index, and both numbers."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.where(bad, np.abs(got - want), -1.0)
    distance = np.where(np.isnan(distance), np.inf, distance)
    at = np.unravel_index(distance.argmax(), distance.shape)
    return tuple(map(int, at)), float(got[at]), float(want[at])


def element(at) -> str:
    """An index for a sentence."""
    return f"at [{', '.join(map(str, at))}] " if at else ""


def agree(what, argument, got, want, eps, bounds=None, own=None):
    """The worst error of an array that is as it should be, up to rounding.

    Raises:
        ClaimFails: naming the element that is off most, and both numbers.
    """
    bad, error = off(got, want, eps, bounds, own)
    if not bad.any():
        return error
    at, g, w = worst(bad, got, want)
    raise ClaimFails(
        f"{what} is wrong{share(bad)}: {element(at)}it is {g:.6g}, should be {w:.6g}.",
        argument, at, g, w,
    )  # fmt: skip


def share(bad) -> str:
    """How much of an array is wrong."""
    return f" ({bad.sum()} of {bad.size} elements are wrong)" if bad.size > 1 else ""


def slope_agrees(what, mine, products, s, argument=None, choices=None, rtol=1e-6) -> float:
    """The worst error along the directions `mine`, relative to the steepest of them.

    Directions without finite values nearby are left out; at a kink any slope between
    the one-sided ones will do, and counts as no error.

    Raises:
        ClaimFails: naming the direction and both slopes, if it exceeds `rtol` by more than
            the differences' own uncertainty, at every step that is as certain as the best.
    """
    known = np.flatnonzero(mine & np.isfinite(s.central) & np.isfinite(s.error))
    got, central = products[known], s.central[known]
    scale = np.abs(central).max(initial=0.0) or 1.0
    error = np.abs(got - central)
    room = rtol * np.abs(central) + 1e-8 * scale + 10 * s.error[known]
    width, slack = (s.high - s.low)[known], s.slack[known]
    # large beside the other slopes, or beyond doubt and large beside its own
    kink = width > 1e-3 * scale
    kink |= (width > 20 * slack) & (width > 1e-3 * np.abs(central))
    inside = (got >= s.low[known] - rtol * scale) & (got <= s.high[known] + rtol * scale)
    steps, errors = (a[:, known] for a in s.support)
    with np.errstate(invalid="ignore"):
        near = np.abs(steps - got) <= rtol * np.abs(central) + 1e-8 * scale + 10 * errors
    fine = (kink & inside) | near.any(0)
    if (kink & ~fine & (error > room)).any() and choices:
        # several arguments tied: a direction's two sides are not all there is
        low, high = (ends[known] for ends in choices())
        slack = rtol * scale
        fine |= kink & (got >= low - slack) & (got <= high + slack)
    error[fine & (error > room)] = 0.0
    if not (error > room).any():
        return float(error.max(initial=0.0) / scale)
    at = (error - room).argmax()
    raise ClaimFails(
        f"{what} disagrees with finite differences by {error[at] / scale:.1e} of its scale "
        f"(allowed {room[at] / scale:.0e}): along direction {known[at] - mine.argmax()} "
        f"it is {got[at]:.6g}, and the function's slope is {central[at]:.6g}.",
        argument,
        got=float(got[at]),
        want=float(central[at]),
    )
