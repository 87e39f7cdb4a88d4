r"""How moments are stored: in a dtype, or as eight-bit codes in blocks.

**Stochastic rounding.** A moment moves by a part $1 - \beta$ of itself in a step, 0.1%
for $\beta = 0.999$. Where neighbouring numbers are further apart than that (0.4% to 0.8%
in bfloat16), rounding to nearest would never let it move. A number between neighbours
$a < x < b$ is therefore rounded to $b$ with probability $(x - a) / (b - a)$, so that its
mean is $x$ (Gupta et al., "Deep learning with limited numerical precision", 2015,
arXiv:1502.02551).

**Eight bits** (Dettmers et al., "8-bit optimizers via block-wise quantization", 2022,
arXiv:2110.02861; the code is another one). In a block with largest magnitude $s$, code
$k \in \{-127, \dots, 127\}$ stands for ${\rm sign}(k)\,s\,(k / 127)^4$: numbers down to
$4 \cdot 10^{-9}\,s$, and 3% apart near $s$. A number that is not 0 has a code that is not
0, as a second moment is divided by.

**The noise** is a hash of the element's index and the step (the last mixing of
MurmurHash3, by Appleby), so that an update stays a pure function that needs no key, and
costs little.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from funcnn.foundation._checks import integer


class Int8(NamedTuple):
    """Moments as eight-bit codes, `block` of which share a float32 scale.

    For `moments` of an optimizer: `adam(1e-3, moments=Int8())`. They take a quarter of
    what float32 does, and 4 bytes a block.
    """

    block: int = 256


Moments = DTypeLike | Int8 | None


class Blocks(NamedTuple):
    """An array as codes, int8 of shape `(blocks, block)`, and scales `(blocks, 1)`."""

    codes: jax.Array
    scales: jax.Array


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


def layout(size, block):
    """The shape of the codes of an array of some size."""
    block = min(block, max(size, 1))
    return max(1, math.ceil(size / block)), block


def quantise(x, block, step, salt):
    """Round an array to codes, in blocks along its elements."""
    count, block = layout(x.size, block)
    x = jnp.pad(x.astype(jnp.float32).ravel(), (0, count * block - x.size))
    x = x.reshape(count, block)
    scales = jnp.max(jnp.abs(x), axis=1, keepdims=True)
    share = jnp.abs(x) / jnp.where(scales == 0, 1, scales)
    low = jnp.floor(jnp.sqrt(jnp.sqrt(share)) * 127)
    below, above = (low / 127) ** 4, ((low + 1) / 127) ** 4
    up = uniform(x.shape, step, salt) * (above - below) < share - below
    code = jnp.maximum(low + up.astype(low.dtype), (x != 0).astype(low.dtype))
    code = jnp.sign(x) * jnp.minimum(code, 127)
    return Blocks(code.astype(jnp.int8), scales)


def dequantise(stored, shape):
    """What codes and scales stand for."""
    part = stored.codes.astype(jnp.float32) / 127
    x = part * jnp.abs(part) ** 3 * stored.scales
    return x.ravel()[: math.prod(shape)].reshape(shape)


def stochastic(x, dtype, noise):
    """Round to `dtype`: to bfloat16 by chance, so that means stay; else to nearest.

    Args:
        x: a floating-point array.
        dtype: what to round to.
        noise: of the shape of `x`, in [0, 1).
    """
    if jnp.dtype(dtype) != jnp.bfloat16 or x.dtype == jnp.bfloat16:
        return x.astype(dtype)
    x = x.astype(jnp.float32)
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
    dither = (noise * 2**16).astype(jnp.uint32)
    kept = (bits + dither) & jnp.uint32(0xFFFF0000)  # a carry goes to the next number
    rounded = jax.lax.bitcast_convert_type(kept, jnp.float32)
    return jnp.where(jnp.isfinite(x), rounded, x).astype(jnp.bfloat16)


def uniform(shape, step, salt):
    """Numbers in [0, 1) of float32, other ones for each step (an int32) and salt."""
    index = jnp.zeros(shape, jnp.uint32)
    for axis, size in enumerate(shape):
        index = index * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
    seed = step.astype(jnp.uint32) * jnp.uint32(0x9E3779B9)
    x = mix(index ^ mix(seed + jnp.uint32(salt * 0x632BE5AB % 2**32)))
    return (x >> 8).astype(jnp.float32) * jnp.float32(2**-24)


def mix(x):
    """MurmurHash3's last mixing of 32 bits."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
