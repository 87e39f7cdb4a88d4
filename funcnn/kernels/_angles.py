"""Sines and cosines of positions, at wavelengths that grow geometrically.

Frequency `i` of `n` is `base ** (-i / n)` radians a position: what sinusoidal position
embeddings (Vaswani et al., 2017) and rotary ones (Su et al., 2021) are made of.
"""

import jax
import jax.numpy as jnp
import numpy as np

from funcnn.foundation._compiler import apart

TURN = 2.0**32  # parts, so that integers that overflow lose whole turns


def geometric(n, base, scaling=None):
    """Frequency `i` of `n`, `base ** (-i / n)`, in NumPy, and slower by `scaling`.

    Args:
        n: how many frequencies.
        base: one over the frequency that would come after the last.
        scaling: None; a factor, by which all are divided; `("ntk", factor)`, which changes
            the base so that the first stays and the last is divided; or `("llama3", factor,
            low, high, length)`, as Llama 3.1 does: waves that are shorter than
            `length / high` positions stay, those longer than `length / low` are divided,
            and what is between is in between.
    """
    if scaling is None:
        return float(base) ** (-np.arange(n) / n)
    if not isinstance(scaling, tuple):
        return geometric(n, base) / scaling
    kind, factor, *more = scaling
    if kind == "ntk":
        return geometric(n, base * factor ** (n / max(n - 1, 1)))
    low, high, length = more
    plain = geometric(n, base)
    kept = np.clip((length * plain / (2 * np.pi) - low) / (high - low), 0, 1)
    return kept * plain + (1 - kept) * plain / factor


def cos_sin(positions, frequencies, dtype, shape):
    """Cosine and sine of each position times each frequency: two arrays `(..., n)`.

    Args:
        positions: integers of shape `(...)`.
        frequencies: `n` of them, a NumPy array of float64, radians a position.
        dtype: of the result, float32 or float64.
        shape: of what reads them; see `apart`.
    """
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
