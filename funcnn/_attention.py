r"""Attention a block of scores at a time, forward and backward.

Queries are `(B, K, G, T, D)`, G of them for each of the K heads of keys; keys and values
are `(B, K, S, D)`; masks and biases have five axes, `(B, K, G, T, S)`, any of which may
be 1.
The scores of a block of queries and a block of keys exist at once, and no more; blocks of
which causality or a window hides everything are passed over. Short sequences of which
something is hidden are cut into strips of queries, each with the keys that it sees.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from funcnn._numerics import known, unbroadcast, vary, varying

BLOCK = 2**22  # scores at once: few large products rather than many small ones
SHORTEST = 32  # queries or keys in a block
STRIPS = 4  # at most, of queries
NARROWEST = 64  # queries in a strip


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
        rows, columns = even(queries, rows), even(keys, columns)
    return Plan(rows, columns, queries, keys, scale, window, softcap)


def even(length, most):
    """The size of as few equal blocks as there can be, which pads the least."""
    return -(-length // -(-length // most)) if length else most


def forward(p: Plan, arrays):
    """What attention gives, `(B, K, G, T, E)`, and two numbers a row, `(B, K, G, T, 1)`.

    They are the largest score, and the sum of all `exp(score - largest)`.
    """
    parts = [in_blocks(part.plan, part.cut(*arrays)) for part in strips(p, arrays)]
    return tuple(jnp.concatenate(a, 3) if a[1:] else a[0] for a in zip(*parts, strict=True))


def in_blocks(p: Plan, arrays):
    """`forward` of one strip."""
    q, *rest = arrays
    q, k, v, mask, bias = arrays = padded(p, p.scale * q, *rest)

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


class Strip(NamedTuple):
    """Some queries, and the keys that they see: an attention of its own.

    Attributes:
        plan: its blocks and its window, told from its own first query and key.
        queries: where it begins and ends.
        keys: likewise.
    """

    plan: Plan
    queries: tuple[int, int]
    keys: tuple[int, int]

    def cut(self, q, k, v, mask, bias):
        """All arrays, as `forward` takes them."""
        return (
            self.of_queries(q),
            *(part(a, {2: self.keys}) for a in (k, v)),
            *(part(a, {3: self.queries, 4: self.keys}) for a in (mask, bias)),
        )

    def of_queries(self, a):
        """What there is a row of for each query."""
        return part(a, {3: self.queries})

    def widened(self, found, arrays):
        """Cotangents of keys, values and bias, as long as the arrays, filled with zeros."""
        places = {2: self.keys}, {2: self.keys}, {3: self.queries, 4: self.keys}
        likes = arrays[1], arrays[2], arrays[4]
        return [
            a if a is None else jnp.pad(a, around(at, like.shape))
            for a, at, like in zip(found, places, likes, strict=True)
        ]


def part(a, at):
    """`a` from the first to the last of each pair; axes of 1 stand for any length."""
    for axis, (first, end) in at.items():
        if a is not None and a.shape[axis] > 1:
            a = jax.lax.slice_in_dim(a, first, end, axis=axis)
    return a


def around(at, shape):
    """What lacks before and after a part of an array of some shape."""
    pairs = [at.get(axis, (0, n)) if n > 1 else (0, n) for axis, n in enumerate(shape)]
    return [(first, n - end) for (first, end), n in zip(pairs, shape, strict=True)]


def strips(p: Plan, arrays) -> list[Strip]:
    """All queries as one strip, or, if few keys are hidden at a time, some.

    Where a strip begins and ends is known when it is compiled, so that what it does not
    see is left out of it, and costs nothing. It is for lengths that leave few strips: each
    has a program of its own.
    """
    everything = Strip(p, (0, p.queries), (0, p.keys))
    if p.window == (None, None) or not known((*arrays[0].shape, p.keys)):
        return [everything]
    size = max(NARROWEST, -(-p.queries // STRIPS))
    scores = math.prod(arrays[0].shape[:4]) * p.keys
    if not 0 < scores <= STRIPS * BLOCK or size >= p.queries:
        return [everything]
    before, after = p.window
    found = []
    for first in range(0, p.queries, size):
        last = min(first + size, p.queries) - 1
        end = p.keys if after is None else min(last + after + 1, p.keys)
        begin = 0 if before is None else min(max(first - before, 0), end - 1)
        shift = first - begin
        own = (
            None if before is None or last - before <= begin else before - shift,
            None if after is None or first + after >= end - 1 else after + shift,
        )
        rows, columns = last + 1 - first, end - begin
        plan = Plan(rows, columns, rows, columns, p.scale, own, p.softcap)
        found.append(Strip(plan, (first, last + 1), (begin, end)))
    return found


def merged(a, b):
    """What two sets of keys give together."""
    top = jnp.maximum(a[0], b[0])
    left, right = jnp.exp(a[0] - top), jnp.exp(b[0] - top)
    return top, left * a[1] + right * b[1], left * a[2] + right * b[2]


def backward(p: Plan, arrays, out, top, total, dout):
    """The cotangents of queries, keys, values and bias (or None)."""
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

    def row_block(state, i):
        queries, g, peak, pulled = (cut(a, 3, i, p.rows) for a in (q, dout, top, pull))

        def add(j, state):
            dq, dk, dv, dbias = state
            s, slope = scores(p, queries, k, mask, bias, i, j)
            e = jnp.exp(s - peak)
            dv = added(dv, {2: j}, over_queries(e, g))
            de = products(g, cut(v, 2, j, p.columns))
            ds = e * (de - pulled)
            if dbias is not None:
                at = {axis: n for axis, n in ((3, i), (4, j)) if dbias.shape[axis] > 1}
                dbias = added(dbias, at, unbroadcast(ds, part_of(dbias, ds)))
            ds = ds if slope is None else ds * slope
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
    return p.scale * dq[:, :, :, : p.queries], *(
        None if a is None else a[tuple(map(slice, shape))]
        for a, shape in zip(state, shapes, strict=True)
    )


def scores(p: Plan, queries, k, mask, bias, i, j):
    """The scores of a block of queries, scaled, and one of keys; -inf where not seen.

    And the derivative of the soft bound, or None.
    """
    s = products(queries, cut(k, 2, j, p.columns))
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
