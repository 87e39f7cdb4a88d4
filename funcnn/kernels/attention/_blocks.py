"""Attention of one strip, a block of scores at a time."""

import functools

import jax
import jax.numpy as jnp

from funcnn.foundation._cotangents import unbroadcast, vary, varying
from funcnn.kernels.attention._arrays import (
    added,
    block,
    cut,
    in_a_row,
    over_keys,
    over_queries,
    pad,
    padded,
    part_of,
    products,
)
from funcnn.kernels.attention._drop import factors
from funcnn.kernels.attention._plan import Plan


def in_blocks(p: Plan, arrays):
    """`forward` of one strip."""
    q, *rest = arrays
    q, k, v, mask, bias = arrays = padded(p, p.scale * q, *rest)

    def row_block(i):
        queries = cut(q, 3, i, p.rows)

        def partial(j):
            s, _, keep = scores(p, queries, k, mask, bias, i, j)
            s = s if keep is None else jnp.where(keep, s, -jnp.inf)
            top = jnp.maximum(s.max(-1, keepdims=True), jnp.finfo(s.dtype).min)
            top = jax.lax.stop_gradient(top)  # what is made of it does not depend on it
            if p.exact:  # NaN in e, and in what is made of it, is enough
                top = jnp.where(jnp.isnan(top), 0, top)
            e = jnp.exp(s - top)
            out = over_keys(dropped(p, e, i, j), cut(v, 2, j, p.columns))
            return top, e.sum(-1, keepdims=True), out

        if p.blocks[1] == 1:
            top, total, out = partial(0)
        else:
            row = jnp.zeros_like(queries[..., :1])
            wide = jnp.zeros((*row.shape[:-1], v.shape[-1]), row.dtype)
            nothing = row + jnp.finfo(row.dtype).min, row, wide
            top, total, out = loop(
                p, i, lambda j, state: merged(state, partial(j)), nothing, arrays
            )
        total = jnp.maximum(total, 0.5)  # at least the largest score's 1, or 0 without any
        return out / total, top, total

    if p.blocks[0] == 1:
        found = row_block(0)
    else:
        blocks = jnp.arange(p.blocks[0])
        _, stacked = jax.lax.scan(lambda _, i: (None, row_block(i)), None, blocks)
        found = tuple(map(in_a_row, stacked))
    return tuple(a[:, :, :, : p.queries] for a in found)


def merged(a, b):
    """What two sets of keys give together."""
    top = jnp.maximum(a[0], b[0])
    left, right = jnp.exp(a[0] - top), jnp.exp(b[0] - top)
    return top, left * a[1] + right * b[1], left * a[2] + right * b[2]


def backward_in_blocks(p: Plan, arrays, rows):
    """`backward` of one strip, given what there is a row of for each of its queries."""
    q, k, v, mask, bias = arrays
    top, dout, pull = rows
    shapes = [() if a is None else a.shape for a in (k, v, bias)]
    slack = p.rows * p.blocks[0] - p.queries
    dout, pull = (pad(a, {3: slack}) for a in (dout, pull))
    top = pad(top, {3: slack}, jnp.inf)  # rows that were added have no weights
    q, k, v, mask, bias = padded(p, p.scale * q, k, v, mask, bias)
    arrays = q, k, v, mask, bias, dout
    # scores are of the same arrays as in the forward pass, or they would be made again
    plain_q, plain_k = (numbers(a) if p.exact else a for a in (q, k))

    def shown(a, keep):
        # whatever is there where a query does not look, e * a would have to be 0
        return jnp.where(keep, a, 0) if p.exact and keep is not None else a

    def row_block(state, i):
        queries, g, peak, pulled = (cut(a, 3, i, p.rows) for a in (q, dout, top, pull))

        def add(j, state):
            dq, dk, dv, dbias = state
            s, slope, keep = scores(p, queries, k, mask, bias, i, j)
            s = s if keep is None else jnp.where(keep, s, -jnp.inf)
            e = jnp.exp(s - peak)
            dv = added(dv, {2: j}, over_queries(dropped(p, e, i, j), g))
            de = dropped(p, products(g, cut(v, 2, j, p.columns)), i, j)
            ds = shown(e * (de - pulled), keep)
            if dbias is not None:
                at = {axis: n for axis, n in ((3, i), (4, j)) if dbias.shape[axis] > 1}
                dbias = added(dbias, at, unbroadcast(ds, part_of(dbias, ds)))
            if slope is not None:
                ds = ds * shown(slope, keep)
            dq = dq + over_keys(ds, cut(plain_k, 2, j, p.columns))
            dk = added(dk, {2: j}, over_queries(ds, cut(plain_q, 3, i, p.rows)))
            return dq, dk, dv, dbias

        dq, *state = loop(p, i, add, (jnp.zeros_like(queries), *state), arrays)
        return tuple(state), dq

    state = tuple(None if a is None else jnp.zeros_like(a) for a in (k, v, bias))
    if p.blocks[0] == 1:
        state, dq = row_block(state, 0)
    else:
        state, dq = jax.lax.scan(
            row_block, differing(state, arrays), jnp.arange(p.blocks[0])
        )
        dq = in_a_row(dq)
    return p.scale * dq[:, :, :, : p.queries], *(
        None if a is None else a[tuple(map(slice, shape))]
        for a, shape in zip(state, shapes, strict=True)
    )


def numbers(a):
    """The array with 0 in place of what is not finite: of a weight of 0, it makes 0."""
    return jnp.where(jnp.isfinite(a), a, 0)


def scores(p: Plan, queries, k, mask, bias, i, j):
    """The scores of a block of queries, scaled, and one of keys.

    And the derivative of the soft bound, or None, and which keys are seen, None for all.
    """
    s = products(queries, cut(k, 2, j, p.columns))
    slope = None
    if p.softcap is not None:
        bent = jnp.tanh(s / p.softcap)
        s, slope = p.softcap * bent, 1 - bent * bent
    conditions = visible(p, i, j)
    if bias is not None:
        part = block(bias, p, i, j)
        s = s + part
        if p.exact:
            conditions.append(part > -jnp.inf)
    if mask is not None:
        conditions.append(block(mask, p, i, j))
    return s, slope, functools.reduce(jnp.logical_and, conditions) if conditions else None


def dropped(p: Plan, weights, i, j):
    """The weights of a block, or their cotangents, those dropped 0, the others larger."""
    if p.drop is None:
        return weights
    start = i * p.rows, j * p.columns
    return weights * factors(p.drop, weights.shape, *start, weights.dtype)


def visible(p: Plan, i, j):
    """What says which keys of a block its queries see, each `(rows, columns)`."""
    row = i * p.rows + jnp.arange(p.rows)[:, None]
    column = j * p.columns + jnp.arange(p.columns)
    before, after = p.window
    conditions = []
    if p.columns * p.blocks[1] > p.keys:
        conditions.append(column < p.keys)
    if before is not None:
        conditions.append(column >= row - before)
    if after is not None:
        conditions.append(column <= row + after)
    return conditions


def loop(p: Plan, i, add, state, arrays):
    """`add` each block of keys that block `i` of queries sees to the state."""
    if p.blocks[1] == 1:
        return add(0, state)
    first, end = p.seen(i)

    def every(state, j):
        return add(j, state), None

    def visible(state, j):
        # a condition, not a loop from first to end: JAX can differentiate that
        seen = (first <= j) & (j < end)
        return jax.lax.cond(seen, lambda: add(j, state), lambda: state), None

    step = every if p.window == (None, None) else visible
    return jax.lax.scan(step, differing(state, arrays), jnp.arange(p.blocks[1]))[0]


def differing(state, arrays):
    """A loop's first state; it differs along those axes of a mesh that arrays do."""
    axes = frozenset().union(*(varying(a) for a in arrays if a is not None))
    return jax.tree.map(lambda a: vary(a, axes - varying(a)), state)
