"""Sines and cosines of positions, at wavelengths that grow geometrically.

Frequency `i` of `n` is `base ** (-i / n)` radians a position: what sinusoidal position
embeddings (Vaswani et al., 2017) and rotary ones (Su et al., 2021) are made of.
"""

import jax
import jax.numpy as jnp
import numpy as np

from funcnn.foundation._compiler import apart

TURN = 2.0**32  # parts, so that integers that overflow lose whole turns


def cos_sin(positions, n, base, dtype, shape):
    """Cosine and sine of each position times each frequency: two arrays `(..., n)`.

    Args:
        positions: integers of shape `(...)`.
        n: how many frequencies.
        base: one over the frequency that would come after the last.
        dtype: of the result, float32 or float64.
        shape: of what reads them; see `apart`.
    """
    frequencies = float(base) ** (-np.arange(n) / n)
    if jnp.finfo(dtype).bits > 32:
        return apart(_of_products, shape, positions, jnp.asarray(frequencies, dtype))
    turns = frequencies / (2 * np.pi)
    parts = np.round(turns * TURN)
    rest = jnp.asarray(turns - parts / TURN, dtype)
    parts = jnp.asarray((parts % TURN).astype(np.uint32))
    return apart(_within_a_turn, shape, positions, parts, rest)


def _of_products(positions, frequencies):
    return _both(positions.astype(frequencies.dtype)[..., None] * frequencies)


def _within_a_turn(positions, parts, rest):
    """The same, with whole turns taken off before there are digits to lose.

    A position of 10^5 times a frequency, in float32, can be off by 0.004 radians. Counted
    in parts of a turn the product of integers is exact, save for whole turns. What a
    frequency has beyond parts is so little that float32 will do.
    """
    turned = positions.astype(jnp.uint32)[..., None] * parts
    turned = jax.lax.convert_element_type(turned, jnp.int32)  # at most half a turn
    further = positions.astype(rest.dtype)[..., None] * rest
    return _both(2 * np.pi * (turned.astype(rest.dtype) / TURN + further))


def _both(angles):
    return jnp.stack([jnp.cos(angles), jnp.sin(angles)])
