"""Claims about a function with a hand-written rule.

Each is a function `claim(evidence) -> error` that raises `ClaimFails` when it is false and
returns the worst relative error when it holds.
"""

import functools

import numpy as np

from funcnn.verify.claims import _types
from funcnn.verify.claims._case_numbers import CaseNumbers
from funcnn.verify.claims._checks import (
    bounds,
    like_plain,
    note_poles,
    numbers,
    outputs,
    same_type,
)
from funcnn.verify.claims._compare_arrays import ClaimFails, agree, slope_agrees
from funcnn.verify.claims._precision import rounded_alike
from funcnn.verify.claims._pullbacks import cotangents_agree
from funcnn.verify.functions._cotangents import POSITIVE
from funcnn.verify.functions._phrases import said


def rule_is_in_force(e: CaseNumbers):
    """The function runs a custom rule, the reference none."""
    name, (mine, theirs) = e.op.name, e.has_rule
    if e.literal:
        if not mine:
            raise ClaimFails(f"{name} runs no custom rule.")
        if theirs:
            raise ClaimFails(f"{name}_reference runs a custom rule itself.")
    if not mine:
        e.note(
            f"{name} runs no custom rule: JAX's own derivatives are all there is to judge."
        )
    if theirs:
        e.note("The reference runs a custom rule itself, which is taken at its word.")
    return 0.0


def value_equals_reference(e: CaseNumbers):
    """Plainly called or by its forward rule: the reference's."""
    s, name = e.exact, e.op.name
    value, forward = (
        numbers(e, "value", ""),
        numbers(e, "forward", "by its forward rule, "),
    )
    error = 0.0
    for i, output in enumerate(outputs(s)):
        what = f"{name}, by its forward rule: {output}"
        same_type(what, forward[i], value[i], output)
        rounding = functools.partial(bounds, e, s, "mine", "value", i)
        error = max(error, agree(what, output, forward[i], value[i], s.eps, rounding))
        if isinstance(s.theirs["value"], Exception):
            e.note(f"The reference raises {said(s.theirs['value'])}.")
            continue
        what = f"{name}, called plainly: {output}"
        want = s.theirs["value"][i]
        if value[i].shape != want.shape:
            raise ClaimFails(
                f"{what} has shape {value[i].shape}, the reference's {want.shape}.", output
            )
        note_poles(e, output, value[i], want)
        rounding = functools.partial(bounds, e, s, "theirs", "value", i)
        error = max(error, agree(what, output, value[i], want, s.eps, rounding))
    return error


def vjp_equals_reference(e: CaseNumbers):
    """Cotangents are what autodiff makes of the reference."""
    error = cotangents_agree(e, e.exact)
    if e.defaults:
        moved = f" (with other values in {' and '.join(e.defaults)} than 0 or 1)"
        error = max(error, *(cotangents_agree(e, s, moved) for s in e.elsewhere))
    return error


def vjp_equals_differences(e: CaseNumbers):
    """Cotangents are the slopes of the function's own values.

    Elements that are infinite, or where the function has no finite values nearby, are
    left out; at a kink any slope between the one-sided ones will do.
    """
    numbers(e, "vjp", "")
    s, name = e.exact, e.op.name
    # all positive, so that a convex function's kinks stay convex
    cts, dys = ([a[POSITIVE] for a in arrays] for arrays in (s.mine["vjp"], s.dys))
    d, products, found = s.slopes(cts, dys)

    def choices():
        """What cotangents a kink leaves to choose from, as far as noise finds them."""
        try:
            bounds = s.spread("theirs", "vjp")
        except Exception:
            bounds = s.spread("mine", "vjp")
        return d.ranges(*([b[POSITIVE] for b in bound] for bound in bounds))

    error = max(
        slope_agrees(
            f"{name}: the cotangent of {leaf}", d.leaf == i, products, found, leaf, choices
        )
        for i, leaf in enumerate(e.names)
    )
    product, r = s.remainder(cts, dys)
    if r and r.order < 1.4 and r.error > 1e-5:
        raise ClaimFails(
            f"{name}: in a random direction, Taylor's remainder shrinks as the step to the "
            f"power {r.order:.2f} and not faster, so the slope is off by {r.error:.1e} of "
            f"its terms: it is {product:.6g}, should be {r.slope:.6g}.",
            got=product,
            want=r.slope,
        )
    return error


def cotangents_have_argument_types(e: CaseNumbers):
    """Cotangents have the type of their argument; integers none."""
    _types.as_given(e)
    if e.literal:
        _types.in_every_mix(e)
    return 0.0


def same_in_dtypes_given(e: CaseNumbers):
    """In the dtypes given, all is off by rounding alone."""
    if e.given is None:
        return 0.0
    s, given = e.exact, e.given
    for key, names in (("value", outputs(s)), ("vjp", e.names)):
        got, want = given.mine[key], s.mine[key]
        if isinstance(got, Exception):
            raise ClaimFails(f"{e.op.name}, in the dtypes given, raises {said(got)}.")
        if isinstance(want, Exception):
            continue
        theirs = given.theirs[key]
        for i, name in enumerate(names):
            of = "" if key == "value" else "the cotangent of "
            what = f"{e.op.name}, in {got[i].dtype.name}: {of}{name}"
            rounded_alike(e, given, key, i, what, name, got, want, theirs)
    return 0.0


def same_without_jit(e: CaseNumbers):
    """Run an operation at a time, the numbers are the same."""
    s = e.exact
    return like_plain(e, "run without jit", s.eager, [0])


def vjp_under_vmap(e: CaseNumbers):
    """In a batch of all arguments, or of one, they are the same."""
    s, groups = e.exact, e.exact.groups
    last = s.count + len(groups)
    error = like_plain(e, "under vmap", numbers(e, "vmap", "under vmap, "), [0, last])
    batch = numbers(e, "batch", "under vmap, ") if "batch" in s.mine else []
    values = zip(outputs(s), batch, s.mine["value"], strict=False)
    for i, (output, got, want) in enumerate(values):
        own = functools.partial(bounds, e, s, "mine", "value", i)
        what = f"{e.op.name} under vmap: {output}"
        error = max(error, agree(what, output, got, want, s.eps, own))
    alone = numbers(e, "alone", "under vmap, ")
    width = len(e.names)
    for i, group in enumerate(groups):
        part = alone[width * i : width * (i + 1)]
        only = e.names[group[0]].split("[")[0]
        error = max(
            error, like_plain(e, f"under vmap of {only} alone", part, [0, s.count + i])
        )
    if part := alone[width * len(groups) :]:
        where = "under vmap of the cotangents alone"
        error = max(error, like_plain(e, where, part, [0, 1]))
    return error


def vjp_under_scan(e: CaseNumbers):
    """In a scan that is differentiated, they are the same."""
    last = e.exact.count + len(e.exact.groups)
    return like_plain(e, "under scan", numbers(e, "scan", "under scan, "), [0, last])


def vjp_under_checkpoint(e: CaseNumbers):
    """With the forward pass run again for it, they are the same."""
    return like_plain(e, "under checkpoint", numbers(e, "remat", "under checkpoint, "), [0])


def reverse_over_reverse(e: CaseNumbers):
    """The pullback's own pullback is the reference's."""
    names = [*e.names, *(f"the cotangent of {output}" for output in outputs(e.exact))]
    return _second(e, "rev2", "reverse over reverse: the cotangent of", names)


def forward_over_reverse(e: CaseNumbers):
    """The pullback's derivative along a direction is, too."""
    return _second(e, "fwd2", "forward over reverse: the tangent of", e.names)


def _second(e, key, what, names):
    settings = [(e.exact, "")]
    if e.kinked:
        settings = [(e.nearby, " (a little off the kink)")]
    if e.defaults:
        moved = f" (with other values in {' and '.join(e.defaults)} than 0 or 1)"
        settings += [(s, moved) for s in e.elsewhere]
    error = 0.0
    for s, where in settings:
        got, want = s.mine[key], s.theirs[key]
        if isinstance(want, Exception):
            how = what.split(":")[0]
            e.note(f"The reference raises {said(want)} for {how}: that is not claimed.")
            continue
        if isinstance(got, Exception):
            how = f"{e.op.name}, {what.split(':')[0]}, raises {said(got)}"
            if e.literal or s.without_rules(key):
                raise ClaimFails(f"{how}.")
            e.note(f"{how}, and without its rules it does too: that is not claimed.")
            continue
        # next to a pole of the reference nothing is claimed
        want = [np.where(np.isfinite(w), w, np.nan) for w in want]
        for i, name in enumerate(names):
            rounding = own = None  # a wrong pullback's own need no fine judgement
            if not e.first_order_fails:
                rounding = functools.partial(bounds, e, s, "theirs", key, i)
                own = functools.partial(bounds, e, s, "mine", key, i)
            text = f"{e.op.name}, {what} {name}{where}"
            error = max(error, agree(text, name, got[i], want[i], s.eps, rounding, own))
    return error


CLAIMS = {
    "rule": rule_is_in_force,
    "value": value_equals_reference,
    "vjp": vjp_equals_reference,
    "diff": vjp_equals_differences,
    "types": cotangents_have_argument_types,
    "dtype": same_in_dtypes_given,
    "jit": same_without_jit,
    "vmap": vjp_under_vmap,
    "scan": vjp_under_scan,
    "remat": vjp_under_checkpoint,
    "rev2": reverse_over_reverse,
    "fwd2": forward_over_reverse,
}
