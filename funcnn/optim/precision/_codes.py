r"""Arrays in, eight-bit codes in blocks out, and back.

In a block with largest magnitude $s$, code $k \in \{-127, \dots, 127\}$ stands for
${\rm sign}(k)\,s\,(k / 127)^4$: numbers down to $4 \cdot 10^{-9}\,s$, and 3% apart near
$s$. A number that is not 0 has a code that is not 0, as a second moment is divided by.

Dettmers et al., "8-bit optimizers via block-wise quantization", 2022, arXiv:2110.02861;
the code is another one.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from funcnn.optim.precision._rounding import uniform


class Int8(NamedTuple):
    """Moments as eight-bit codes, `block` of which share a float32 scale.

    For `moments` of an optimizer: `adam(1e-3, moments=Int8())`. They take a quarter of
    what float32 does, and 4 bytes a block.
    """

    block: int = 256


class Blocks(NamedTuple):
    """An array as codes, int8 of shape `(blocks, block)`, and scales `(blocks, 1)`."""

    codes: jax.Array
    scales: jax.Array


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
