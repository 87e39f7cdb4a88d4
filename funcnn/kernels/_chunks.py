"""Work on many classes, the last axis of arrays, a chunk of them at a time.

The rows of a chunk of the scores are all there: on two cores, chunks of classes have taken
less time than chunks of rows, whose cotangents are sums as large as the weight.
"""

import math

import jax
import jax.numpy as jnp

from funcnn.foundation._compiler import known

CHUNK = 2**21  # scores at a time: 8 MB of float32, half or twice as many take as long
LEAST = 256  # classes at a time, however many rows there are
LANES = 128  # chunks are whole multiples of so many classes
USUAL = 2**11  # rows, where their number is not known


def over_chunks(step, found, x, classes):
    """Fold `step(found, first, size)` over chunks of the classes for the rows of `x`.

    `found` keeps its shapes and dtypes. The last chunk may be smaller than the others,
    and has a program of its own.
    """
    size = classes_at_once(x.shape[:-1], classes)
    if size == classes:
        return step(found, 0, size)
    whole, rest = divmod(classes, size)
    firsts = size * jnp.arange(whole, dtype=jnp.int32)
    found = jax.lax.scan(lambda c, first: (step(c, first, size), None), found, firsts)[0]
    return step(found, whole * size, rest) if rest else found


def classes_at_once(lead, classes):
    """How many classes make a chunk, for rows of shape `lead`."""
    if not known((classes,)):
        return classes
    count = math.prod(lead) if known(lead) else USUAL
    most = max(CHUNK // max(count, 1), LEAST)
    if classes <= most:
        return classes
    even = math.ceil(classes / math.ceil(classes / most))
    return min(math.ceil(even / LANES) * LANES, classes)


def columns(arrays, first, size):
    """The part of arrays, in a pytree, that is about some of the classes."""

    def cut(a):
        if size == a.shape[-1]:
            return a
        return jax.lax.dynamic_slice_in_dim(a, first, size, -1)

    return jax.tree.map(cut, arrays)


def put(part, whole, first):
    """The array `whole` with what is about some of the classes replaced."""
    part = part.astype(whole.dtype)
    if part.shape == whole.shape:
        return part
    return jax.lax.dynamic_update_slice_in_dim(whole, part, first, -1)
