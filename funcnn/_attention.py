r"""Attention a block of scores at a time, forward and backward.

Queries are `(B, K, G, T, D)`, G of them for each of the K heads of keys; keys and values
are `(B, K, S, D)`; masks and biases have five axes, `(B, K, G, T, S)`, any of which may
be 1.
The scores of a block of queries and a block of keys exist at once, and no more; blocks of
which causality or a window hides everything are passed over.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from funcnn._numerics import known, unbroadcast, vary, varying

BLOCK = 2**22  # scores at once: few large products rather than many small ones
SHORTEST = 32  # queries or keys in a block


class Plan(NamedTuple):
    """What is known of an attention before any number is.

    Attributes:
        rows: queries in a block.
        columns: keys in a block.
        queries: T.
        keys: S.
        scale: of the products.
        window: how many keys before and after its own position a query sees; None for all.
        softcap: the bound of scores, or None.
    """

    rows: int
    columns: int
    queries: int
    keys: int
    scale: float
    window: tuple[int | None, int | None]
    softcap: float | None

    @property
    def blocks(self):
        """How many blocks there are of queries, and of keys."""
        return max(-(-self.queries // self.rows), 1), max(-(-self.keys // self.columns), 1)

    def seen(self, i):
        """The first block of keys that block `i` of queries sees, and the end of them."""
        (before, after), count = self.window, self.blocks[1]
        first: jax.typing.ArrayLike = 0
        end: jax.typing.ArrayLike = count
        if before is not None:
            first = jnp.clip((i * self.rows - before) // self.columns, 0, count)
        if after is not None:
            last = (i + 1) * self.rows - 1 + after
            end = jnp.clip(last // self.columns + 1, 0, count)
        return first, end


def plan(q, k, scale, window, softcap) -> Plan:
    """Choose the blocks.

    All scores are one if they are few; else blocks are about square, as queries and keys
    are read as often as there are blocks of the other.
    """
    queries, keys = q.shape[3], k.shape[2]
    rows, columns = max(queries, 1), max(keys, 1)
    if known((*q.shape, keys)) and math.prod(q.shape[:4]) * keys > BLOCK:
        most = BLOCK // math.prod(q.shape[:3])
        rows = min(rows, max(math.isqrt(most), SHORTEST))
        columns = min(columns, max(most // rows, SHORTEST))
    return Plan(rows, columns, queries, keys, scale, window, softcap)


def forward(p: Plan, arrays):
    """What attention gives, `(B, K, G, T, E)`, and two numbers a row, `(B, K, G, T, 1)`.

    They are the largest score, and the sum of all `exp(score - largest)`.
    """
    q, k, v, mask, bias = arrays = padded(p, *arrays)

    def row_block(i):
        queries = cut(q, 3, i, p.rows)

        def partial(j):
            s, _ = scores(p, queries, k, mask, bias, i, j)
            top = jnp.maximum(s.max(-1, keepdims=True), jnp.finfo(s.dtype).min)
            top = jax.lax.stop_gradient(top)  # what is made of it does not depend on it
            e = jnp.exp(s - top)
            out = over_keys(e, cut(v, 2, j, p.columns))
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


def backward(p: Plan, arrays, out, top, total, dout):
    """The cotangents of queries, keys, values and bias (or None)."""
    q, k, v, mask, bias = arrays
    shapes = [() if a is None else a.shape for a in (k, v, bias)]
    slack = p.rows * p.blocks[0] - p.queries
    pull = (dout * out).sum(-1, keepdims=True)
    dout, top, total, pull = (pad(a, {3: slack}) for a in (dout, top, total, pull))
    total = jnp.maximum(total, 0.5)  # in the rows that were added, too
    q, k, v, mask, bias = padded(p, q, k, v, mask, bias)
    arrays = q, k, v, mask, bias, dout

    def row_block(state, i):
        queries, g, peak, count, pulled = (
            cut(a, 3, i, p.rows) for a in (q, dout, top, total, pull)
        )

        def add(j, state):
            dq, dk, dv, dbias = state
            s, slope = scores(p, queries, k, mask, bias, i, j)
            probs = jnp.exp(s - peak) / count
            dv = added(dv, {2: j}, over_queries(probs, g))
            dprobs = products(g, cut(v, 2, j, p.columns))
            ds = probs * (dprobs - pulled)
            if dbias is not None:
                at = {axis: n for axis, n in ((3, i), (4, j)) if dbias.shape[axis] > 1}
                dbias = added(dbias, at, unbroadcast(ds, part_of(dbias, ds)))
            ds = p.scale * (ds if slope is None else ds * slope)
            dq = dq + over_keys(ds, cut(k, 2, j, p.columns))
            dk = added(dk, {2: j}, over_queries(ds, queries))
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
    return dq[:, :, :, : p.queries], *(
        None if a is None else a[tuple(map(slice, shape))]
        for a, shape in zip(state, shapes, strict=True)
    )


def scores(p: Plan, queries, k, mask, bias, i, j):
    """The scores of a block of queries and one of keys, -inf where a key is not seen.

    And the derivative of the soft bound, or None.
    """
    s = p.scale * products(queries, cut(k, 2, j, p.columns))
    slope = None
    if p.softcap is not None:
        bent = jnp.tanh(s / p.softcap)
        s, slope = p.softcap * bent, 1 - bent * bent
    if bias is not None:
        s = s + block(bias, p, i, j)
    keep = visible(p, i, j)
    if mask is not None:
        shown = block(mask, p, i, j)
        keep = shown if keep is None else keep & shown
    return s if keep is None else jnp.where(keep, s, -jnp.inf), slope


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


def visible(p: Plan, i, j):
    """Which keys of a block its queries see, `(rows, columns)`; None for all of them."""
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
    keep = None
    for condition in conditions:
        keep = condition if keep is None else keep & condition
    return keep


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


def pad(a, more):
    """`a` with zeros at the end of some axes; axes of 1 stand for any length."""
    if a is None or not any(more.values()):
        return a
    wide = {axis: n for axis, n in more.items() if a.shape[axis] != 1}
    return jnp.pad(a, [(0, wide.get(axis, 0)) for axis in range(a.ndim)])


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


def in_a_row(a):
    """Blocks of queries as a scan stacks them, `(blocks, B, K, G, rows, D)`, in a row."""
    a = jnp.moveaxis(a, 0, 3)
    return a.reshape(*a.shape[:3], -1, a.shape[-1])
