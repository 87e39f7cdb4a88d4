"""Which weights dropout keeps: a number for each, by the key and where the weight is.

It does not depend on how attention is cut into blocks, and is made again for each block in
the backward pass rather than kept. The generator is that of JAX's own keys, Threefry-2x32
(Salmon et al., 2011), with the row and the column of a weight for a counter.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.random import threefry_2x32

from funcnn.foundation._dtypes import upcast


class Drop(NamedTuple):
    """Dropout of weights.

    Attributes:
        rate: the share to drop, a number or an array of shape `()`.
        key: two numbers, uint32.
        queries: T, of all strips together.
        first: the query and the key that a strip begins with.
    """

    rate: float | jax.Array
    key: jax.Array
    queries: int
    first: tuple[int, int] = (0, 0)


def drop(key, rate, queries):
    """Dropout by a key of `jax.random`, or None."""
    if not isinstance(rate, jax.Array) and not rate:
        return None
    return Drop(rate, jax.random.bits(key, (2,), "uint32"), queries)


def factors(d: Drop, shape, row, column, dtype):
    """What multiplies weights `(B, K, G, rows, columns)` from a row and a column on."""
    if not isinstance(d.rate, jax.Array) and d.rate == 1:
        return jnp.zeros(shape, dtype)
    *lanes, rows, columns = shape
    lane = jnp.arange(lanes[0] * lanes[1] * lanes[2], dtype="uint32").reshape(*lanes, 1, 1)
    query = counted(d.first[0], row, rows)[:, None] + lane * jnp.uint32(d.queries)
    key = counted(d.first[1], column, columns)
    counters = jnp.stack([jnp.broadcast_to(a, shape) for a in (query, key)])
    bits = threefry_2x32(d.key, counters)[0]
    least, scale = bounds(d.rate)
    kept = bits >= least
    if isinstance(d.rate, jax.Array):  # of 1, too
        kept = kept & (d.rate < 1)
    return jnp.where(kept, jnp.asarray(scale, dtype), 0)


def bounds(rate):
    """The least number that keeps a weight, and what those kept are multiplied by."""
    if not isinstance(rate, jax.Array):
        return jnp.uint32(min(round(rate * 2**32), 2**32 - 1)), 1 / (1 - rate)
    rate = upcast(rate)
    least = jnp.minimum(jnp.round(rate * 2**32), 2**32 - 256).astype("uint32")
    return least, 1 / jnp.where(rate < 1, 1 - rate, 1)


def counted(first, start, n):
    """`n` numbers from a sum on."""
    return jnp.uint32(first) + jnp.asarray(start, "uint32") + jnp.arange(n, dtype="uint32")
