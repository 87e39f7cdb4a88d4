"""Blocks of arrays, and the products of attention."""

import jax
import jax.numpy as jnp

from funcnn.kernels.attention._plan import Plan


def products(a, b):
    """`(B, K, G, T, D)` and `(B, K, S, D)` to `(B, K, G, T, S)`."""
    found = jnp.einsum("bkrd,bksd->bkrs", flat(a), b)
    return found.reshape(*a.shape[:4], b.shape[2])


def over_keys(a, b):
    """`(B, K, G, T, S)` and `(B, K, S, D)` to `(B, K, G, T, D)`."""
    found = jnp.einsum("bkrs,bksd->bkrd", flat(a), b)
    return found.reshape(*a.shape[:4], b.shape[3])


def over_queries(a, b):
    """`(B, K, G, T, S)` and `(B, K, G, T, D)` to `(B, K, S, D)`."""
    return jnp.einsum("bkrs,bkrd->bksd", flat(a), flat(b))


def flat(a):
    """Queries in one axis: XLA:CPU would turn around what is summed over two."""
    return a.reshape(*a.shape[:2], a.shape[2] * a.shape[3], a.shape[4])


def padded(p: Plan, q, k, v, mask, bias):
    """All arrays, as long as the blocks together."""
    rows, columns = (
        n * blocks - length
        for n, blocks, length in zip(p[:2], p.blocks, (p.queries, p.keys), strict=True)
    )
    return (
        pad(q, {3: rows}),
        *(pad(a, {2: columns}) for a in (k, v)),
        *(pad(a, {3: rows, 4: columns}) for a in (mask, bias)),
    )


def pad(a, more, value=0):
    """`a` with a number at the end of some axes; axes of 1 stand for any length."""
    if a is None or not any(more.values()):
        return a
    wide = {axis: n for axis, n in more.items() if a.shape[axis] != 1}
    return jnp.pad(
        a, [(0, wide.get(axis, 0)) for axis in range(a.ndim)], constant_values=value
    )


def cut(a, axis, i, size):
    """Block `i` of some along an axis."""
    if a.shape[axis] == size:
        return a
    return jax.lax.dynamic_slice_in_dim(a, i * size, size, axis)


def block(a, p: Plan, i, j):
    """A mask's or bias' part for a block of scores."""
    a = cut(a, 3, i, p.rows) if a.shape[3] > 1 else a
    return cut(a, 4, j, p.columns) if a.shape[4] > 1 else a


def added(total, at, part):
    """`total` with a part of it added to, the blocks `at` some axes."""
    if part.shape == total.shape:
        return total + part
    start = [at.get(axis, 0) * n for axis, n in enumerate(part.shape)]
    before = jax.lax.dynamic_slice(total, start, part.shape)
    return jax.lax.dynamic_update_slice(total, before + part, start)


def part_of(bias, s):
    """The shape of the bias' part for a block of scores."""
    return tuple(1 if n == 1 else m for n, m in zip(bias.shape, s.shape, strict=True))


def in_a_row(a):
    """Blocks of queries as a scan stacks them, `(blocks, B, K, G, rows, D)`, in a row."""
    a = jnp.moveaxis(a, 0, 3)
    return a.reshape(*a.shape[:3], -1, a.shape[-1])
