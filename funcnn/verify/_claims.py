"""Claims about a function with a hand-written rule.

Each is a function `claim(evidence) -> error` that raises AssertionError when it is false
and returns the worst relative error when it holds. Numbers are compared in the dtype of
the arguments, float64 where they are, each argument on its own scale.
"""

import jax
import jax.numpy as jnp
import numpy as np

from funcnn.verify._autodiff import has_rule
from funcnn.verify._evidence import Evidence
from funcnn.verify._subject import problem, pullback


def rule_is_in_force(e: Evidence):
    """The function runs a custom rule, and its reference runs none."""
    for f, wanted in ((e.op.apply, True), (e.op.reference, False)):
        p = problem(f, e.args)
        found = has_rule(jax.make_jaxpr(p.f)(*p.leaves))
        assert found == wanted, (
            f"{e.op.name}{'' if wanted else '_reference'} runs "
            f"{'no custom rule' if wanted else 'a custom rule itself'}."
        )
    return 0.0


def value_equals_reference(e: Evidence):
    """Called plainly, and by the forward rule, the function is the reference."""
    count = len(e.dys)
    names = ["the output"] if count == 1 else [f"output {i}" for i in range(count)]
    return max(
        _agree(e, "value", f"{e.op.name}, called plainly:", names),
        _agree(e, "forward", f"{e.op.name}, by its forward rule:", names),
    )


def vjp_equals_reference(e: Evidence):
    """Each argument's cotangent is what autodiff makes of the reference."""
    return _agree(e, "vjp", f"{e.op.name}: the cotangent of")


def vjp_equals_differences(e: Evidence):
    """Each argument's cotangent is the slope of the function's own values.

    Elements that are infinite, or where the function has no finite values nearby, are
    left out; at a kink any slope between the one-sided ones will do.
    """
    d, products, s = e.differences
    return max(
        slope_agrees(f"{e.op.name}: the cotangent of {name}", d.leaf == i, products, s)
        for i, name in enumerate(e.names)
    )


def cotangents_have_argument_types(e: Evidence):
    """Cotangents have the dtype of their argument, in every mix of float dtypes.

    JAX checks the shapes that a backward rule returns, but not the dtypes. Mixes that the
    function itself does not take are left out.
    """
    f, leaves = e.problem.f, e.problem.leaves
    low, high = jnp.bfloat16, jnp.float32
    mixes = [[low] * len(leaves), [high] * len(leaves)]
    mixes += [
        [low] * i + [high] + [low] * (len(leaves) - i - 1) for i in range(len(leaves))
    ]
    for mix in mixes:
        args = [jax.ShapeDtypeStruct(a.shape, t) for a, t in zip(leaves, mix, strict=True)]
        try:
            dys = jax.eval_shape(f, *args)
        except (TypeError, ValueError):
            continue
        cts = jax.eval_shape(lambda args, dys: pullback(f, args, dys), args, dys)
        for name, a, ct in zip(e.names, args, cts, strict=True):
            assert (ct.shape, ct.dtype) == (a.shape, a.dtype), (
                f"{e.op.name}: the cotangent of {name} is {ct.dtype}{ct.shape}, should be "
                f"{a.dtype}{a.shape}, for arguments in "
                f"{', '.join(b.dtype.name for b in args)}."
            )
    return 0.0


def vjp_under_vmap(e: Evidence):
    """A batch of problems in one call has each problem's cotangents."""
    return _agree(e, "vmap", f"{e.op.name} under vmap: the cotangent of")


def vjp_under_scan(e: Evidence):
    """Inside a scan that is differentiated, each step has its own cotangents."""
    return _agree(e, "scan", f"{e.op.name} under scan: the cotangent of")


def vjp_under_checkpoint(e: Evidence):
    """With the forward pass run again in the backward pass, nothing changes."""
    return _agree(e, "remat", f"{e.op.name} under checkpoint: the cotangent of")


def reverse_over_reverse(e: Evidence):
    """The pullback's own pullback, in the arguments and in the cotangents."""
    names = [*e.names, *(f"the cotangent of output {i}" for i in range(len(e.dys)))]
    return _agree(e, "rev2", f"{e.op.name}, reverse over reverse: the cotangent of", names)


def forward_over_reverse(e: Evidence):
    """The pullback's derivative along a direction: a Hessian-vector product."""
    return _agree(e, "fwd2", f"{e.op.name}, forward over reverse: the tangent of")


CLAIMS = {
    "rule": rule_is_in_force,
    "value": value_equals_reference,
    "vjp": vjp_equals_reference,
    "diff": vjp_equals_differences,
    "types": cotangents_have_argument_types,
    "vmap": vjp_under_vmap,
    "scan": vjp_under_scan,
    "remat": vjp_under_checkpoint,
    "rev2": reverse_over_reverse,
    "fwd2": forward_over_reverse,
}


def _agree(e, key, what, names=None, rtol=1e-10):
    got = e.mine[key]
    assert not isinstance(got, Exception), (
        f"{what} {', '.join(names or e.names)} raises {type(got).__name__}: "
        f"{first_line(got)}"
    )
    arrays = zip(names or e.names, got, e.reference[key], strict=True)
    return max((agree(f"{what} {name}", g, w, rtol) for name, g, w in arrays), default=0.0)


def first_line(error) -> str:
    """What an exception says, in brief."""
    return next(iter(str(error).strip().splitlines()), "")


def agree(what, got, want, rtol=1e-10) -> float:
    """The worst error of an array, relative to the largest element that it should have.

    Raises:
        AssertionError: naming the element and both numbers, if it exceeds `rtol`.
    """
    assert (got.shape, got.dtype) == (want.shape, want.dtype), (
        f"{what} is {got.dtype}{got.shape}, should be {want.dtype}{want.shape}."
    )
    if not got.size:
        return 0.0
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    scale = np.abs(want[np.isfinite(want)]).max(initial=0.0) or 1.0
    with np.errstate(invalid="ignore"):
        off = np.where(got == want, 0.0, np.abs(got - want)) / scale
    off = np.where(np.isnan(off), np.inf, off)
    worst = np.unravel_index(off.argmax(), off.shape)
    at = f"at [{', '.join(map(str, worst))}] " if worst else ""
    assert off[worst] <= rtol, (
        f"{what} is off by {off[worst]:.1e} of its scale (allowed {rtol:.0e}): {at}it is "
        f"{got[worst]:.6g}, should be {want[worst]:.6g}."
    )
    return float(off[worst])


def slope_agrees(what, mine, products, s, rtol=1e-6) -> float:
    """The worst error along the directions `mine`, relative to the steepest of them.

    Directions without finite values nearby are left out; at a kink any slope between
    the one-sided ones will do, and counts as no error.

    Raises:
        AssertionError: naming the direction and both slopes, if it exceeds `rtol` by
            more than the differences' own uncertainty.
    """
    known = np.flatnonzero(mine & np.isfinite(s.central) & np.isfinite(s.error))
    got, central = products[known], s.central[known]
    scale = np.abs(central).max(initial=0.0) or 1.0
    off = np.abs(got - central) / scale
    room = rtol + 10 * s.error[known] / scale
    kink = (s.high - s.low)[known] > 1e-3 * scale
    inside = (got >= s.low[known] - rtol * scale) & (got <= s.high[known] + rtol * scale)
    off[kink & inside] = 0.0
    if not (off > room).any():
        return float(off.max(initial=0.0))
    worst = (off - room).argmax()
    raise AssertionError(
        f"{what} disagrees with finite differences by {off[worst]:.1e} of its scale "
        f"(allowed {room[worst]:.0e}): along direction {known[worst] - mine.argmax()} it "
        f"is {got[worst]:.6g}, and the function's slope is {central[worst]:.6g}."
    )
