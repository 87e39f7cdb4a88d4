"""Moments in, what a state keeps of them out: in a dtype, or as eight-bit codes."""

import math

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from funcnn.foundation._checks import integer
from funcnn.optim.precision._codes import Blocks, Int8, dequantise, layout, quantise
from funcnn.optim.precision._rounding import stochastic, uniform

Moments = DTypeLike | Int8 | None


def check_moments(name, moments):
    """Check what moments are to be stored as: None, a floating dtype, or `Int8`.

    Raises:
        TypeError: if it is something else.
        ValueError: if a block is not of at least 1.
    """
    if moments is None:
        return
    if isinstance(moments, Int8):
        integer(name, "block of moments", moments.block, minimum=1)
        return
    try:
        floating = jnp.issubdtype(jnp.dtype(moments), jnp.floating)
    except TypeError:
        floating = False
    if not floating:
        raise TypeError(
            f"{name} needs moments to be a floating-point dtype, an Int8 or None; "
            f"got {moments!r}."
        )


def rounded_by_chance(moments):
    """Whether what is stored is right in the mean, and no smaller than its like."""
    return isinstance(moments, Int8) or jnp.dtype(moments) == jnp.bfloat16


def store(x, moments, dtype, step, salt):
    """An array as it is kept in a state: in `dtype` if there is no choice of `moments`."""
    if moments is None:
        return x.astype(dtype)
    if isinstance(moments, Int8):
        return quantise(x, moments.block, step, salt)
    return stochastic(x, moments, uniform(x.shape, step, salt))


def load(stored, shape):
    """An array of `shape` from what `store` made of it."""
    return dequantise(stored, shape) if isinstance(stored, Blocks) else stored


def packed(slot):
    """A slot of a state, with the codes alone of what is in blocks."""

    def blocks(a):
        return isinstance(a, Blocks)

    return jax.tree.map(lambda a: a.codes if blocks(a) else a, slot, is_leaf=blocks)


def like_stored(a, moments):
    """What has the shape of what is stored of `a`: of the codes, if it is in blocks."""
    if not isinstance(moments, Int8):
        return a
    return jax.ShapeDtypeStruct(layout(math.prod(a.shape), moments.block), jnp.int8)
