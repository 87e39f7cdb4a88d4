r"""Attention a block of scores at a time, forward and backward.

Queries are `(B, K, G, T, D)`, G of them for each of the K heads of keys; keys and values
are `(B, K, S, D)`; masks and biases have five axes, `(B, K, G, T, S)`, any of which may
be 1.
The scores of a block of queries and a block of keys exist at once, and no more; blocks of
which causality or a window hides everything are passed over. Short sequences of which
something is hidden are cut into strips of queries, each with the keys that it sees.
"""

import jax
import jax.numpy as jnp

from funcnn.kernels.attention._blocks import backward_in_blocks, in_blocks
from funcnn.kernels.attention._drop import drop as drop
from funcnn.kernels.attention._drop import factors as factors
from funcnn.kernels.attention._hidden import backward_guarded, forward_guarded
from funcnn.kernels.attention._plan import Plan, strips
from funcnn.kernels.attention._plan import plan as plan


def forward(p: Plan, arrays):
    """What attention gives, `(B, K, G, T, E)`, and two numbers a row, `(B, K, G, T, 1)`.

    They are the largest score, and the sum of all `exp(score - largest)`.
    """
    return forward_guarded(forward_in_strips, p, arrays)


def backward(p: Plan, arrays, out, top, total, dout):
    """The cotangents of queries, keys, values and bias (or None)."""
    rows = out, top, total, dout
    return backward_guarded(backward_in_strips, p, arrays, *rows)


def forward_in_strips(p: Plan, arrays):
    """`forward`, as if a weight of 0 kept everything out."""
    parts = [in_blocks(part.plan, part.cut(*arrays)) for part in strips(p, arrays)]
    return tuple(jnp.concatenate(a, 3) if a[1:] else a[0] for a in zip(*parts, strict=True))


def backward_in_strips(p: Plan, arrays, out, top, total, dout):
    """`backward`, likewise."""
    dout = dout / total  # so that scores need not be divided
    rows = top, dout, (dout * out).sum(-1, keepdims=True)
    dqs, found = [], []
    for part in strips(p, arrays):
        mine = [part.of_queries(a) for a in rows]
        dq, *others = backward_in_blocks(part.plan, part.cut(*arrays), mine)
        dqs.append(dq)
        found.append(part.widened(others, arrays))
    sums = jax.tree.map(lambda a, *more: sum(more, a), *found)
    return jnp.concatenate(dqs, 3) if dqs[1:] else dqs[0], *sums
