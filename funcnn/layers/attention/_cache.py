"""Keys and values that attention has seen, kept for decoding."""

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


def check_room(layer, cache: Cache, count):
    """Check that a cache takes `count` more positions, if that is known.

    Raises:
        ValueError: if it does not.
    """
    length, position = cache.keys.shape[-3], cache.position
    fed = 0 if isinstance(position, jax.core.Tracer) else int(np.max(position, initial=0))
    if fed + count > length:
        had = "" if isinstance(position, jax.core.Tracer) else f"{fed} positions and "
        raise ValueError(
            f"{layer} needs a cache of length {fed + count} or more for {had}{count} "
            f"further positions; got one of length {length}."
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
        `(count, length)`, or None if attention's own options say that.
    """
    if cache is None:
        return keys, values, None, None
    goes_on = isinstance(cache, Cache)
    if cross:
        fed = jnp.int32((cache.position if goes_on else 0) + count)
        return keys, values, Cache(keys, values, fed), None
    if not goes_on:
        return keys, values, started(keys, values, cache, count), None
    new = extended(cache, keys, values)
    keep = visible(cache.position, count, new.keys.shape[1], window)
    return new.keys, new.values, new, keep


def started(keys, values, length, fed) -> Cache:
    """A cache of some length that holds these keys and values, `fed` of them so far."""
    more = [(0, 0), (0, length - keys.shape[1]), (0, 0), (0, 0)]
    return Cache(jnp.pad(keys, more), jnp.pad(values, more), jnp.int32(fed))


def extended(cache: Cache, keys, values) -> Cache:
    """The cache with further keys and values, from its position on."""

    def put(old, new):
        new = new.astype(old.dtype)
        return jax.lax.dynamic_update_slice_in_dim(old, new, cache.position, 1)

    fed = cache.position + keys.shape[1]
    return Cache(put(cache.keys, keys), put(cache.values, values), fed)


def visible(first, count, length, window):
    """Which of `length` keys are seen from `count` positions, the first being `first`.

    Shape `(count, length)`: those that are not later, and not further back than the window.
    """
    row = positions(first, count)[:, None]
    column = positions(jnp.zeros_like(first), length)
    keep = column <= row
    before = window[0] if isinstance(window, tuple) else window
    return keep if before is None else keep & (column >= row - before)


def positions(first, count):
    """The `count` positions from `first` on, in the dtype of that."""
    return first + jnp.arange(count, dtype=first.dtype)


def nan_beyond(cache: Cache, y):
    """`y`, or NaN if the cache was too short for its positions."""
    return jnp.where(cache.position > cache.keys.shape[1], jnp.nan, y)
