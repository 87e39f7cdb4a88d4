"""Comes in: what attention is given. Goes out: the same checked, and split by head."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from funcnn import ops
from funcnn.foundation._checks import as_array, float_arrays, integer, number
from funcnn.kernels._rotations import checked
from funcnn.layers.attention import _cache
from funcnn.layers.attention._cache import Cache

NAME = "MultiHeadAttention"


def checked_heads(heads, key_heads, features, head_features) -> tuple[int, int]:
    """How many heads there are, of queries and of keys.

    Raises:
        TypeError: if a number is not an integer.
        ValueError: if one is less than 1, or `key_heads` does not divide `heads`.
    """
    heads = integer(NAME, "heads", heads, minimum=1)
    for name, n in (("features", features), ("head_features", head_features)):
        if n is not None:
            integer(NAME, name, n, minimum=1)
    groups = heads if key_heads is None else integer(NAME, "key_heads", key_heads, 1)
    if heads % groups:
        raise ValueError(
            f"{NAME} needs key_heads that divide the {heads} heads; got {groups}."
        )
    return heads, groups


def rope_options(rope) -> dict | None:
    """The options of rotations, or None if there are none.

    Raises:
        TypeError: if the base is not a number, or an option has the wrong type.
        ValueError: if it is less than 1, or there is no such option.
    """
    if rope is False:
        return None
    if not isinstance(rope, Mapping):
        return {"base": number(NAME, "rope", 1e4 if rope is True else rope, low=1.0)}
    known = {"base": 1e4, "features": None, "interleaved": False, "scaling": None}
    if unknown := sorted(map(str, rope.keys() - known)):
        raise ValueError(
            f"{NAME} needs rope with {', '.join(known)}; got {', '.join(unknown)}."
        )
    values = checked(f"{NAME}'s rope", None, **(known | dict(rope)))
    return dict(zip(known, values, strict=True))


def pair(x):
    """What queries are made of, what keys and values are, and whether they are two.

    Raises:
        TypeError: if `x` is neither one array nor two.
        ValueError: if they do not have three axes, or not the same first one.
    """
    cross = isinstance(x, tuple | list)
    if cross and len(x) != 2:
        raise TypeError(f"{NAME} needs x, or (x, memory); got {len(x)} inputs.")
    x, memory = x if cross else (x, x)
    if not isinstance(x, jax.ShapeDtypeStruct):
        x, memory = float_arrays(NAME, x=x, memory=memory)
    if len(x.shape) != 3 or not x.shape[-1]:
        raise ValueError(f"{NAME} needs x of shape (B, T, d) with d > 0; got {x.shape}.")
    if len(memory.shape) != 3 or memory.shape[0] != x.shape[0] or not memory.shape[-1]:
        raise ValueError(
            f"{NAME} needs memory of shape ({x.shape[0]}, S, m) with m > 0 for x of shape "
            f"{x.shape}; got {memory.shape}."
        )
    return x, memory, cross


def head_width(x, heads, head_features):
    """The features of a head.

    Raises:
        ValueError: if they are not given, and `heads` does not divide those of `x`.
    """
    if head_features is None and x.shape[-1] % heads:
        raise ValueError(
            f"{NAME} needs heads that divide the {x.shape[-1]} features of x, or "
            f"head_features; got {heads} heads."
        )
    return head_features or x.shape[-1] // heads


def check_use(cache, x, cross, causal, window):
    """Check that a cache can be used as the layer is, for an input `x`.

    Raises:
        TypeError: if it is none.
        ValueError: if self attention is not causal, attention to a memory is, or a new one
            is too short for `x`, or a cache is known to be.
    """
    _cache.check_cache(NAME, cache)
    if cache is None:
        return
    if not cross and not causal:
        raise ValueError(f"{NAME} needs causal=True for a cache; got causal=False.")
    if cross and (causal or window is not None):
        raise ValueError(
            f"{NAME} needs causal=False and window=None for a cache of a memory; got "
            f"{causal} and {window}."
        )
    if not cross and isinstance(cache, Cache):
        _cache.check_room(NAME, cache, x.shape[1], window)
    elif not cross and cache < x.shape[1] and not _cache.rolls(cache, window):
        raise ValueError(
            f"{NAME} needs a cache of length {x.shape[1]} or more for x of shape "
            f"{x.shape}; got {cache}."
        )


def check_unmasked(count, window, *masks):
    """Check that there is no mask or bias where keys have no place in a cache yet.

    Raises:
        ValueError: if there is.
    """
    if any(a is not None for a in masks):
        raise ValueError(
            f"{NAME} needs a cache of length {count + _cache.reach(window)} or more, or "
            "fewer positions at once, for a mask or bias of a cache that rolls."
        )


def with_key_mask(mask, key_mask, k):
    """The mask, and of each example no keys but those that count.

    Raises:
        TypeError: if `key_mask` is not boolean.
        ValueError: if there is not one for each key.
    """
    if key_mask is None:
        return mask
    key_mask = as_array(NAME, "key_mask", key_mask)
    if key_mask.dtype != bool:
        raise TypeError(f"{NAME} needs a key_mask of booleans; got {key_mask.dtype}.")
    if key_mask.shape != k.shape[:2]:
        raise ValueError(
            f"{NAME} needs a key_mask of shape (B, S) = {k.shape[:2]}; got "
            f"{key_mask.shape}."
        )
    key_mask = key_mask[:, None, None]
    if mask is None:
        return key_mask
    mask = as_array(NAME, "mask", mask)
    if mask.ndim == 3:  # told from one per example by four axes alone
        raise ValueError(
            f"{NAME} needs a mask of four axes, (B, heads, T, S), or two beside a "
            f"key_mask; got {mask.shape}."
        )
    return key_mask & mask


def product(params, x, heads, width):
    """What a dense layer makes of `x`, by head: `(B, T, d)` to `(B, T, heads, width)`."""
    y = ops.dense(x, params["weight"], params.get("bias"))
    return y.reshape(*x.shape[:2], heads, width)


def turned(x, first, options):
    """Queries or keys at the positions from `first` on; as they are without options."""
    if options is None:
        return x
    at = None if isinstance(first, int) else _cache.positions(first, x.shape[1])
    return ops.rope(x, at, **options)


def weights(q, k, mask, bias, options):
    """What attention multiplies values by, `(B, H, T, S)`.

    That is what it makes of values that are the rows of an identity matrix.
    """
    b, s, heads = k.shape[:3]
    unit = jnp.broadcast_to(jnp.eye(s, dtype=k.dtype)[:, None], (b, s, heads, s))
    return jnp.moveaxis(ops.attention(q, k, unit, mask, bias, **options), 1, 2)
