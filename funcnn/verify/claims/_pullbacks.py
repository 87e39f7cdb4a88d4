"""Cotangents against the reference's, and what to make of a difference."""

import functools

import numpy as np

from funcnn.verify.claims._case_numbers import CaseNumbers
from funcnn.verify.claims._checks import bounds, note_poles, outputs
from funcnn.verify.claims._compare_arrays import ClaimFails, element, off, share, worst
from funcnn.verify.faults._diagnosis import likely_fault, shape_fault
from funcnn.verify.functions._cotangents import COMBINATION, KINDS, SMALL, stream
from funcnn.verify.functions._phrases import said
from funcnn.verify.programs._differences import Directions
from funcnn.verify.programs._numbers import Numbers


def cotangents_agree(e: CaseNumbers, s: Numbers, where="") -> float:
    """The worst error of all cotangents, for each of those of the outputs.

    Raises:
        ClaimFails: naming the argument, the element, and the fault if its pattern is known.
    """
    got = s.mine["vjp"]
    name = e.op.name
    if isinstance(got, Exception):
        raise ClaimFails(f"{name}{where} raises {said(got)}.", fault=shape_fault(str(got)))
    got = [ct[: s.count] for ct in got]
    want = s.theirs["vjp"]
    if isinstance(want, Exception):
        e.note(f"Autodiff of the reference raises {said(want)}. Differences are the judge.")
        return _linear(e, s, got, where)
    error, wrong = 0.0, []
    for i, leaf in enumerate(e.names):
        rounding = functools.partial(bounds, e, s, "theirs", "vjp", i)
        own = functools.partial(bounds, e, s, "mine", "vjp", i, rows=s.count)
        bad, small = off(got[i], want[i], s.eps, rounding, own, rows=True)
        # a rule that solves to within a tolerance is allowed one
        size = np.abs(want[i][SMALL]).max(initial=0.0)
        bad[SMALL] &= ~(np.abs(got[i] - want[i])[SMALL] <= 1e-6 * size)
        if bad.any():
            bad = _not_at_kinks(e, s, i, bad, got, want)
        if bad.any():
            wrong.append((i, bad))
        note_poles(e, f"cotangent of {leaf}", got[i][0], want[i][0])
        error = max(error, small)
    if not wrong:
        return error
    e.first_order_fails = True
    raise _disproof(e, s, where, wrong, got, want)


def _disproof(e, s, where, wrong, got, want):
    (i, bad), *rest = wrong
    k = int(np.flatnonzero(bad.reshape(len(bad), -1).any(1))[0])
    at, g, w = worst(bad[k], got[i][k], want[i][k])
    others = [e.names[j] for j, _ in rest]
    text = (
        f"{e.op.name}{where}: the cotangent of {e.names[i]} is wrong{share(bad.any(0))}: "
        f"{element(at)}it is {g:.6g}, should be {w:.6g}, for a cotangent of the output "
        f"that is {KINDS[k]}."
    )
    if others:
        text += f" So {'are those' if others[1:] else 'is that'} of {', '.join(others)}."
    fault = None
    try:
        _linear(e, s, got, where)
    except ClaimFails:
        fault = "it is not linear in the cotangent"
    if fault is None:
        values = dict(zip(e.names, s.leaves, strict=True))
        if isinstance(s.mine.get("value"), list):
            values |= dict(zip(outputs(s), s.mine["value"], strict=True))
        fault = likely_fault(got, want, i, e.names, values, s.dys)
    return ClaimFails(text, e.names[i], at, g, w, fault)


def _linear(e, s, got, where):
    """A pullback is linear: this needs no reference."""
    a, b = COMBINATION
    error = 0.0
    for leaf, ct in zip(e.names, got, strict=True):
        what = f"{e.op.name}{where}: the cotangent of {leaf}"
        with np.errstate(invalid="ignore", over="ignore"):
            combined = a * ct[0] + b * ct[1]
            size = np.abs(a * ct[0]) + np.abs(b * ct[1])
            room = max(1e-9, 256 * s.eps) * size + max(1e-12, 64 * s.eps) * size.max(
                initial=0.0
            )
            for row, want in ((ct[4], combined), (ct[5], 0 * combined)):
                bad = ~(np.abs(row - want) <= room) & np.isfinite(want)
                if bad.any():
                    at, g, w = worst(bad, row, want)
                    raise ClaimFails(
                        f"{what} is not linear in the cotangent of the output: for a "
                        f"combination of two it is {g:.6g} {element(at)}and not {w:.6g}.",
                        leaf, at, g, w,
                    )  # fmt: skip
    return error


def _not_at_kinks(e, s: Numbers, i, bad, got, want):
    """Those elements that are wrong though the function is smooth there."""
    leaf = s.leaves[i]
    where = np.flatnonzero(bad.any(0).ravel())
    if len(where) > 64 and len(where) > bad[0].size // 2:
        return bad
    rng = stream(s.seed, "kinks")
    tried = np.sort(rng.choice(where, min(len(where), 64), replace=False))
    sizes = [a.size for a in s.leaves]
    start = sum(sizes[:i])
    block = np.full(sum(sizes), len(tried))
    weights = np.zeros(sum(sizes))
    block[start + tried], weights[start + tried] = np.arange(len(tried)), 1.0
    finite = np.isfinite(leaf)
    scale = np.abs(leaf[finite]).max(initial=0.0) or 1.0
    count = len(tried)
    d = Directions(block, weights, np.zeros(count, int), np.full(count, scale))
    for k in range(len(got[i])):
        wrong = bad[k].ravel()[tried]
        if not wrong.any():
            continue
        # Where outputs have kinks of their own, a sum of them can turn any way; with
        # cotangents of one sign it stays between its slopes to both sides.
        products = d.products([ct[k] for ct in got])
        up, down = (
            s.slopes(None, [np.maximum(sign * dy[k], 0) for dy in s.dys], d)[2]
            for sign in (1, -1)
        )
        low, high = up.low - down.high, up.high - down.low
        known = np.isfinite(up.central) & np.isfinite(down.central)
        size = np.abs(up.central) + np.abs(down.central)
        kink = known & (high - low > 1e-3 * (np.abs(products) + size))
        room = 1e-6 * size.max(initial=0.0)
        inside = (products >= low - room) & (products <= high + room)
        if (wrong & ~(kink & inside)).any():
            return bad
    e.kinked = True
    return np.zeros_like(bad)
