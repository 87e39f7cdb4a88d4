"""Comes in: the arguments of attention. Goes out: the same checked, and a plan."""

import math

import jax
import jax.numpy as jnp

from funcnn.foundation._checks import as_array, boolean, integer, number
from funcnn.foundation._checks import softcap as checked_softcap
from funcnn.kernels.attention._drop import drop
from funcnn.kernels.attention._plan import plan as cut_into_blocks


def check_shapes(q, k, v):
    """Check that queries, keys and values fit."""
    if not (q.ndim == k.ndim == v.ndim == 4):
        raise ValueError(
            "attention needs q, k and v with four axes; got shapes "
            f"{q.shape}, {k.shape} and {v.shape}."
        )
    (b, _, h, d), (s, heads) = q.shape, k.shape[1:3]
    if k.shape != (b, s, heads, d) or v.shape[:3] != (b, s, heads):
        raise ValueError(
            f"attention needs k of shape ({b}, S, K, {d}) and v of shape ({b}, S, K, E) "
            f"for q of shape {q.shape}; got k {k.shape} and v {v.shape}."
        )
    if heads == 0 or h % heads:
        raise ValueError(
            f"attention needs heads of k that divide the {h} of q; got {heads}."
        )


def checked_mask(mask):
    """The mask as an array, or None."""
    if mask is None:
        return None
    mask = as_array("attention", "mask", mask)
    if mask.dtype != bool:
        raise TypeError(f"attention needs a mask of booleans; got {mask.dtype}.")
    return mask


def check_mask(mask, q, k):
    """Refuse a mask that is more likely one per example than what NumPy makes of it."""
    if mask is None or mask.ndim not in (2, 3) or mask.shape[0] == 1:
        return
    (b, t, h), s, n = q.shape[:3], k.shape[1], mask.shape[0]
    if mask.ndim == 3 and n == b:
        raise ValueError(
            f"attention needs a mask of three axes to be one per head, (H, T, S) = "
            f"{(h, t, s)}, and {mask.shape} may be one per example, (B, T, S): give "
            f"mask[:, None] for that, mask[None] for one per head."
        )
    if mask.shape == (b, s) and n != t:
        raise ValueError(
            f"attention needs a mask of two axes to be one for all, (T, S) = {(t, s)}, and "
            f"{mask.shape} is one per example, (B, S): give mask[:, None, None] for that."
        )


def within(lengths, mask, q, k):
    """The mask, and of each example no more keys than its length."""
    if lengths is None:
        return mask
    lengths = as_array("attention", "key_lengths", lengths)
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise TypeError(f"attention needs key_lengths of integers; got {lengths.dtype}.")
    if lengths.shape != q.shape[:1]:
        raise ValueError(
            f"attention needs key_lengths of shape {q.shape[:1]} for q of shape {q.shape}; "
            f"got {lengths.shape}."
        )
    count = jnp.arange(k.shape[1], dtype="int32")
    shown = count < lengths.astype("int32")[:, None, None, None]
    return shown if mask is None else shown & mask


def checked_drop(rate, key, q):
    """Dropout of weights, or None. A rate that is traced comes with the key, as a pair."""
    if isinstance(key, tuple):
        key, rate = key
        if rate.shape or not jnp.issubdtype(rate.dtype, jnp.floating):
            raise ValueError(
                "attention needs a dropout that is a floating-point scalar; "
                f"got {rate.dtype} of shape {rate.shape}."
            )
    else:
        rate = number("attention", "dropout", rate, low=0.0, high=1.0)
    if key is None and (isinstance(rate, jax.Array) or rate):
        raise TypeError(f"attention needs a key for dropout {rate}; got None.")
    return drop(key, rate, q.shape[1])


def plan(arrays, causal, scale, window, softcap, dropout):
    """The options, judged, and the blocks that the shapes ask for."""
    q, k = arrays[:2]
    scale = 1 / math.sqrt(max(q.shape[-1], 1)) if scale is None else scale
    scale = number("attention", "scale", scale)
    softcap = checked_softcap("attention", softcap)
    boolean("attention", "causal", causal)
    sides = window if isinstance(window, tuple) else (window, window)
    if len(sides) != 2:
        raise ValueError(f"attention needs a window of two sides; got {window}.")
    before, after = (
        None if side is None else integer("attention", "window", side, minimum=0)
        for side in sides
    )
    if causal:
        after = 0
    return cut_into_blocks(q, k, scale, (before, after), softcap, dropout)
