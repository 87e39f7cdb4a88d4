"""Keys and values that attention has seen, kept for decoding.

Position `p` is at `p % length`. What has no room left can thus be written over by what
comes later, if all that a window sees has room: then the cache rolls.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Cache(NamedTuple):
    """The keys and values that an attention layer has seen, in arrays of fixed length.

    Those of a `Stack` have an axis of its layers in front.

    Attributes:
        keys: shape `(B, length, K, D)`, as they are after any rotation.
        values: shape `(B, length, K, D)`.
        position: int32 of shape `()`, how many positions have been fed.
    """

    keys: jax.Array
    values: jax.Array
    position: jax.Array


def check_cache(layer, cache, most=None):
    """Check that `cache` is one, or a length of at least 1, or None.

    Args:
        layer: for the error.
        cache: what was given.
        most: the longest that there may be, if there is such a length.

    Raises:
        TypeError: if it is nothing of the kind.
        ValueError: if the length is less than 1, or more than `most`.
    """
    if cache is None or isinstance(cache, Cache):
        return
    if not isinstance(cache, int) or isinstance(cache, bool):
        raise TypeError(
            f"{layer} needs a cache that it returned, or an integer, the length of a new "
            f"one; got {type(cache).__name__}."
        )
    if cache < 1 or (most is not None and cache > most):
        limits = "at least 1" if most is None else f"1 to {most}"
        raise ValueError(f"{layer} needs a cache of length {limits}; got {cache}.")


def rolls(length, window):
    """Whether a cache has room for all that a window sees, so that it never runs out."""
    before = reach(window)
    return before is not None and before < length


def reach(window):
    """How many positions before its own one sees; None is all."""
    return window[0] if isinstance(window, tuple) else window


def check_room(layer, cache: Cache, count, window, most=None):
    """Check that a cache takes `count` more positions, if that is known.

    Raises:
        ValueError: if it does not, or a layer of `most` positions has fewer left.
    """
    length, position = cache.keys.shape[-3], cache.position
    fed = 0 if isinstance(position, jax.core.Tracer) else int(np.max(position, initial=0))
    if fed + count > length and not rolls(length, window):
        had = "" if isinstance(position, jax.core.Tracer) else f"{fed} positions and "
        raise ValueError(
            f"{layer} needs a cache of length {fed + count} or more for {had}{count} "
            f"further positions; got one of length {length}."
        )
    if most is not None and fed + count > most:
        raise ValueError(
            f"{layer} needs at most {most} positions, its length; got {fed} and {count} "
            "further ones."
        )


def remembered(cache, keys, values, count, cross, window):
    """What attention is to be given, and a cache that remembers it.

    Args:
        cache: what was given, checked: a `Cache`, the length of a new one, or None.
        keys: those of this call, or what the cache of a memory has.
        values: likewise.
        count: how many positions are fed.
        cross: whether they are those of a memory.
        window: of attention.

    Returns:
        Keys and values, the new cache or None, and which keys are seen, of shape
        `(count, keys)`, or None if attention's own options say that.
    """
    if cache is None:
        return keys, values, None, None
    goes_on = isinstance(cache, Cache)
    if cross:
        fed = jnp.int32((cache.position if goes_on else 0) + count)
        return keys, values, Cache(keys, values, fed), None
    if not goes_on:
        return keys, values, started(keys, values, cache), None
    new = extended(cache, keys, values)
    first, length = cache.position, cache.keys.shape[1]
    if rolls(length, window) and reach(window) + count > length:
        # what is written last would lie over what the first of these positions see
        keys, values = (
            jnp.concatenate([old, a.astype(old.dtype)], 1)
            for old, a in ((cache.keys, keys), (cache.values, values))
        )
        at = jnp.concatenate([held(first, length), positions(first, count)])
    else:
        keys, values, at = new.keys, new.values, held(new.position, length)
    return keys, values, new, visible(positions(first, count), at, window)


def started(keys, values, length) -> Cache:
    """A cache of some length that holds these keys and values, the last if it rolls."""
    fed = keys.shape[1]

    def put(new):
        kept = jnp.pad(
            new[:, -length:], [(0, 0), (0, max(length - fed, 0)), (0, 0), (0, 0)]
        )
        return jnp.roll(kept, fed, 1) if fed > length else kept

    return Cache(put(keys), put(values), jnp.int32(fed))


def extended(cache: Cache, keys, values) -> Cache:
    """The cache with further keys and values, from its position on."""
    count, length = keys.shape[1], cache.keys.shape[1]
    fed = cache.position + count

    def put(old, new):
        new = new.astype(old.dtype)
        if count == 1:
            return jax.lax.dynamic_update_slice_in_dim(old, new, cache.position % length, 1)
        at = positions(fed - min(count, length), min(count, length)) % length
        return old.at[:, at].set(new[:, -length:], unique_indices=True)

    return Cache(put(cache.keys, keys), put(cache.values, values), fed)


def held(fed, length):
    """The position of what is at each place of a cache that was fed so many.

    Negative where there is nothing yet.
    """
    last = fed - 1
    return last - (last - positions(jnp.zeros_like(fed), length)) % length


def visible(row, column, window):
    """Which keys, at the positions `column`, are seen from those of `row`.

    Shape `(rows, columns)`: those that are not later, and not further back than the window.
    """
    row, before = row[:, None], reach(window)
    keep = (column >= 0) & (column <= row)
    return keep if before is None else keep & (column >= row - before)


def positions(first, count):
    """The `count` positions from `first` on, in the dtype of that."""
    return first + jnp.arange(count, dtype=first.dtype)


def nan_beyond(cache: Cache, y, window):
    """`y`, or NaN if the cache was too short for its positions."""
    length = cache.keys.shape[1]
    if rolls(length, window):
        return y
    return jnp.where(cache.position > length, jnp.nan, y)
