"""Numbers that are not finite, kept from the queries that do not see them.

A weight of 0 keeps no NaN out of a product of matrices, as 0 * NaN is NaN. What can be done
is to take rows of NaN or inf out of the arrays before the products, and to put them back
where they count, as one NaN a row: forward in the keys, which makes scores NaN, of which
those that are hidden are then replaced; backward in the largest scores.

That takes some passes over the arrays, so on a CPU it is done only if something is not
finite, which is seldom. Elsewhere, where a condition would have to wait for the device, it
is done always: there the passes are part of others.
"""

from functools import reduce

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from funcnn.foundation._compiler import on_cpu
from funcnn.kernels.attention._plan import SHORTEST


def hides(p, mask, bias):
    """Whether a query may not see a key: by a mask, a window, or a bias of -inf."""
    return p.window != (None, None) or mask is not None or bias is not None


def forward_guarded(forward, p, arrays):
    """`forward(p, arrays)`; what is not finite reaches the queries that see it alone."""
    if not hides(p, *arrays[3:]):
        return forward(p, arrays)

    def exact(arrays):
        return forward(p._replace(exact=True), marked(arrays))

    def judged(arrays):
        out, *sums = forward(p, arrays)
        (out,) = kept_if_finite([out], lambda: (out,), lambda: anew(arrays)[:1])
        return out, *sums

    def anew(arrays):
        return forward(in_few_rows(p), marked(arrays))

    return on_cpu(judged, exact, arrays)


def backward_guarded(forward, backward, p, arrays, out, top, total, dout):
    """`backward(p, arrays, out, top, total, dout)`, likewise."""
    rows = out, top, total, dout
    if not hides(p, *arrays[3:]):
        return backward(p, arrays, *rows)

    def exact(arrays, out, top, total, dout):
        cleaner = cleaned(arrays, out, top, total, dout)
        return backward(p._replace(exact=True), *cleaner)

    def judged(arrays, out, top, total, dout):
        found = backward(p, arrays, out, top, total, dout)
        # bad values and cotangents show in dq, as bad keys do, and bad queries in dk
        return kept_if_finite(found[:2], lambda: found, lambda: anew(arrays, dout))

    def anew(arrays, dout):
        # were it to read what forward gave, XLA:CPU would not fuse what gives that
        few = in_few_rows(p)
        out, top, total = forward(few, marked(arrays))
        return backward(few, *cleaned(arrays, out, top, total, dout))

    return on_cpu(judged, exact, arrays, *rows)


def in_few_rows(p):
    """The exact plan for what seldom runs: one that adds no memory to speak of."""
    rows = min(p.rows, SHORTEST)
    return p._replace(rows=rows, exact=True)


def kept_if_finite(judged, found, again):
    """`found()` if all numbers of the arrays `judged` are finite, else `again()`."""
    return jax.lax.cond(all_finite(*judged), found, again)


def all_finite(*arrays):
    """Whether all numbers are finite; under `vmap` one answer for all."""
    return judged_finite(*map(jax.lax.stop_gradient, arrays))


@custom_vmap
def judged_finite(*arrays):
    # 0 * NaN is NaN, and a product is several times as fast as `isfinite` on a CPU
    rows = [a @ jnp.zeros(a.shape[-1], a.dtype) for a in arrays]
    return reduce(jnp.logical_and, [jnp.isfinite(a.sum()) for a in rows])


@judged_finite.def_vmap
def judged_finite_of_all(size, batched, *arrays):
    del size, batched
    return judged_finite(*arrays), False  # a condition, not a choice between both


def marked(arrays):
    """Keys of NaN where they or their values are not finite, and values of 0."""
    q, k, v, mask, bias = arrays
    fine = finite(k, v)
    return q, jnp.where(fine, k, jnp.nan), jnp.where(fine, v, 0), mask, bias


def cleaned(arrays, out, top, total, dout):
    """All that backward reads without such rows, and `top` NaN for those of queries."""
    q, k, v, mask, bias = arrays
    seen, shown = finite(q, out, dout), finite(k, v)
    q, out, dout = (jnp.where(seen, a, 0) for a in (q, out, dout))
    k, v = (jnp.where(shown, a, 0) for a in (k, v))
    top, total = jnp.where(seen, top, jnp.nan), jnp.where(seen, total, 1)
    return (q, k, v, mask, bias), out, top, total, dout


def finite(*arrays):
    """Which rows are finite in all arrays, with a last axis of 1."""
    # as one reduction where widths agree: of cotangents that are all 1 alone XLA would
    # take seconds to find that they are finite
    widths: dict = {a.shape[-1]: [] for a in arrays}
    for a in arrays:
        widths[a.shape[-1]].append(jnp.isfinite(a))
    found = (reduce(jnp.logical_and, same) for same in widths.values())
    return reduce(jnp.logical_and, (a.all(-1, keepdims=True) for a in found))
