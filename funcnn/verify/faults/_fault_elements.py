"""Patterns of a cotangent that is wrong in some of its elements."""

import math

import numpy as np

from funcnn.verify.faults import _fault_whole as whole
from funcnn.verify.faults._fault_case import Case

LOCAL = (
    whole.zero,
    whole.sign,
    whole.constant,
    whole.passed,
    whole.value,
    whole.slope,
    whole.any_constant,
)


def not_finite(c: Case, lost):
    """Infinities and NaN where finite numbers should be."""
    where = "" if lost.all() else place(c, lost)
    share = f" in {lost.sum()} of {lost.size} elements"
    return f"it is not finite{share if where is None else where}, though it should be"


def local(c: Case):
    """Some elements alone, and what they have in common."""
    apart = np.abs(c.got - c.want)
    relative = c.tolerance * np.maximum(np.abs(c.got), np.abs(c.want))
    bad = (apart > np.maximum(relative, 1e-3 * c.tolerance * c.size)).any(0)
    count = int(bad.sum())
    if count in (0, c.count):
        return None
    where = place(c, bad)
    what = f"{count} of {bad.size} elements are wrong"
    if where:
        what = f"it is wrong{where}"
    elif count == 1:
        what = f"one element of {bad.size} is wrong"
    part = c.at(bad)
    if fault := next(filter(None, (pattern(part) for pattern in LOCAL)), None):
        return f"{what}: {fault}"
    return what if where or count <= max(1, bad.size // 1000) else None


def place(c: Case, bad):
    """Where the elements are that are wrong, or None if they have nothing in common."""
    if bad.sum() == 1:
        return None
    for a, n in enumerate(c.shape):
        rest = tuple(b for b in range(bad.ndim) if b != a)
        rows = np.flatnonzero(bad.any(rest))
        right = np.setdiff1d(np.arange(n), rows)
        noun, along = ("row", f" along axis {a}") if rest else ("element", "")
        most = n // 2 if rest and bad.sum() * n == len(rows) * bad.size else n // 3
        if len(rows) <= min(3, most) and (rest or len(rows) > 1):
            return f" only in {_rows(noun, rows)}{along}"
        if n > 2 and len(right) == 1 and bad.all(rest).sum() == n - 1:
            return f" except in {_rows(noun, right)}{along}"
    if bad.ndim > 1 and bad.shape[-1] == bad.shape[-2] > 2:
        rows, columns = np.indices(bad.shape)[-2:]
        for text, there in (
            ("above", columns > rows), ("below", columns < rows), ("on", columns == rows),
        ):  # fmt: skip
            if not (bad & ~there).any() and bad.sum() > there.sum() / 2:
                return f" only {text} the diagonal"
    counted = c.got.any(0) | c.want.any(0)
    for name, v in c.values.items():
        for form, f in (("{}", lambda v: v), ("the absolute value of {}", np.abs)):
            if text := _threshold(np.broadcast_to(f(v[0]), bad.shape), bad, counted):
                return f" only where {form.format(name)} is {text}"
    return None


def _rows(noun, rows):
    numbers = list(map(str, rows))
    if len(numbers) == 1:
        return f"{noun} {numbers[0]}"
    return f"{noun}s {', '.join(numbers[:-1])} and {numbers[-1]}"


def _threshold(numbers, bad, counted):
    """Whether elements are wrong on one side of some number; its sign, if 0 will do."""
    inside, outside = numbers[bad], numbers[~bad & counted]
    if not len(inside) or not len(outside) or np.isnan(numbers).any():
        return None
    fewer = min(len(inside), len(outside), 8)  # more would be as little chance
    chance = math.comb(len(inside) + len(outside), fewer)
    for side, near, far in (
        ("above", inside.min(), outside.max()),
        ("below", inside.max(), outside.min()),
    ):
        low, high = min(near, far), max(near, far)
        if (near > far) != (side == "above") or near == far:
            continue
        if low <= 0 <= high and chance > 500:
            return "positive" if side == "above" else "negative"
        if chance > 1000:
            return f"{side} {(low + high) / 2:.2g}"
    return None


def misplaced(c: Case):
    """The right numbers, or the right sum, at the wrong places along an axis."""
    for a in range(1, c.got.ndim):
        if c.explains(np.sort(c.got, a), np.sort(c.want, a)):
            return f"the right numbers are in the wrong order along axis {a - 1}"
    for a in range(1, c.got.ndim):
        total = c.want.sum(a)
        part = c._replace(known=np.ones((), bool))
        if np.abs(total).max() > 1e-3 and part.explains(c.got.sum(a), total):
            return f"it is put at the wrong places along axis {a - 1}: its sum is right"
    return None
