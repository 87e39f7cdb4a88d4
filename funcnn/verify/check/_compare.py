"""A whole model's gradient, hand-written against autodiff."""

import functools
from collections.abc import Callable

import jax.numpy as jnp

from funcnn.verify.check._check import row
from funcnn.verify.claims._compare_arrays import agree, slope_agrees
from funcnn.verify.functions._op import Op
from funcnn.verify.functions._phrases import title
from funcnn.verify.functions._split import cast
from funcnn.verify.measures._costs import measure
from funcnn.verify.programs._numbers import Numbers
from funcnn.verify.report._report import Report


def compare(
    loss: Callable, *args, seed: int = 0, name: str | None = None, costs: bool = True
) -> Report:
    """Compare a whole model's hand-written gradient with autodiff's, leaf by leaf.

    Three gradients of `loss(*args)` are taken in float64: with every custom rule in
    force, with all of them ignored, and from function values alone, along a few random
    directions a leaf. Then the first two are timed in the dtypes given, compiled and by
    turns, for about two seconds.

    Args:
        loss: returns a scalar, or a pair of a scalar and anything else.
        *args: its arguments. Floating-point arrays in them, also inside pytrees, are
            differentiated; everything else is held fixed.
        seed: of the random directions.
        name: what to call `loss` in the report.
        costs: whether to measure time and memory.

    Returns:
        A Report with a row for each leaf and claim, named by the leaf's path: `value` of
        the loss, gradient against autodiff (`vjp`) and against differences (`diff`). Its
        `costs` are lines that say what both gradients take: seconds, the compiled
        program's temporary memory, the bytes held from forward to backward pass.

    Raises:
        TypeError: if there is nothing to differentiate.
        ValueError: if the loss is not a scalar.
    """

    @functools.wraps(loss)
    def scalar(*args):
        y = loss(*args)
        y = y[0] if isinstance(y, tuple) else y
        if jnp.shape(y) != ():
            raise ValueError(f"compare needs a scalar loss; got shape {jnp.shape(y)}.")
        return y

    called = name or title(loss)
    op = Op(called, scalar, None, lambda rng: {})
    s = Numbers(op, cast(args, jnp.float64), seed, {"value", "vjp"}, ones=True)
    if not s.leaves:
        raise TypeError("compare needs a floating-point array in its arguments.")
    for found in (s.mine, s.theirs):
        for error in found.values():
            if isinstance(error, Exception):
                raise error
    cts, dys = ([a[0] for a in arrays] for arrays in (s.mine["vjp"], s.dys))
    d, products, slopes = s.slopes(cts, dys, limit=4)

    def claim(what, key, i):
        def rounding():
            return tuple(bound[i] for bound in s.spread("theirs", key))

        return agree(what, None, s.mine[key][i], s.theirs[key][i], s.eps, rounding)

    rows = [row(called, "", "value", functools.partial(claim, called, "value", 0))]
    for i, leaf in enumerate(s.split.names):
        what = f"the gradient of {leaf}"
        slope = functools.partial(slope_agrees, what, d.leaf == i, products, slopes)
        rows.append(row(leaf, "", "vjp", functools.partial(claim, what, "vjp", i)))
        rows.append(row(leaf, "", "diff", slope))
    lines = str(measure(loss, *args)).splitlines() if costs else ()
    return Report(f"{called}, {len(s.leaves)} leaves", tuple(rows), (), tuple(lines))
