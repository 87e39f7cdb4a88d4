"""How attention is cut: into strips of queries, and those into blocks of scores."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from funcnn.foundation._compiler import known
from funcnn.kernels.attention._drop import Drop

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
        exact: whether keys that are hidden may hold anything, NaN too.
        drop: dropout of weights, or None.
    """

    rows: int
    columns: int
    queries: int
    keys: int
    scale: float
    window: tuple[int | None, int | None]
    softcap: float | None
    exact: bool = False
    drop: Drop | None = None

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


def plan(q, k, scale, window, softcap, drop=None) -> Plan:
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
    return Plan(rows, columns, queries, keys, scale, window, softcap, drop=drop)


def even(length, most):
    """The size of as few equal blocks as there can be, which pads the least."""
    return -(-length // -(-length // most)) if length else most


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
        if a is not None and a.shape[axis] != 1:
            a = jax.lax.slice_in_dim(a, first, end, axis=axis)
    return a


def around(at, shape):
    """What lacks before and after a part of an array of some shape."""
    pairs = [at.get(axis, (0, n)) if n != 1 else (0, n) for axis, n in enumerate(shape)]
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
        drop = p.drop and p.drop._replace(first=(first, begin))
        plan = Plan(rows, columns, rows, columns, p.scale, own, p.softcap, p.exact, drop)
        found.append(Strip(plan, (first, last + 1), (begin, end)))
    return found
