"""Numbers that are not finite, kept from the queries that do not see them.

A weight of 0 keeps no NaN out of a product of matrices, as 0 * NaN is NaN. What can be done
is to take rows of NaN or inf out of the arrays before the products, and to put them back
where they count, as one NaN a row: in the keys, which makes scores NaN, of which those that
are hidden are then replaced; and backward in what is given of a query's output.

That takes a pass over keys and values, and backward over all arrays. To do it only where
something is not finite would be another program in a branch, to be compiled as well.
"""

import jax.numpy as jnp


def hides(p, mask, bias):
    """Whether a query may not see a key: by a mask, a window, or a bias of -inf."""
    return p.window != (None, None) or mask is not None or bias is not None


def forward_guarded(forward, p, arrays):
    """`forward(p, arrays)`; what is not finite reaches the queries that see it alone."""
    if not hides(p, *arrays[3:]):
        return forward(p, arrays)
    return forward(p._replace(exact=True), marked(arrays))


def backward_guarded(backward, p, arrays, out, top, total, dout):
    """`backward(p, arrays, out, top, total, dout)`, likewise."""
    if not hides(p, *arrays[3:]):
        return backward(p, arrays, out, top, total, dout)
    # a row of which one of these is not finite is NaN in what it sees, by its `pull`
    pull = (dout * out).sum(-1, keepdims=True)
    seen = jnp.isfinite(pull) & jnp.isfinite(total)
    out = jnp.where(seen, out, jnp.nan)
    dout, total = jnp.where(seen, dout, 0), jnp.where(seen, total, 1)
    return backward(p._replace(exact=True), marked(arrays), out, top, total, dout)


def marked(arrays):
    """Keys of NaN where they or their values are not finite, and values of 0."""
    q, k, v, mask, bias = arrays
    fine = jnp.isfinite(k).all(-1, keepdims=True) & jnp.isfinite(v).all(-1, keepdims=True)
    return q, jnp.where(fine, k, jnp.nan), jnp.where(fine, v, 0), mask, bias
