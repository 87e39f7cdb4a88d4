r"""Arrays in, low precision out, rounded by chance so that means stay.

A moment moves by a part $1 - \beta$ of itself in a step, 0.1% for $\beta = 0.999$. Where
neighbouring numbers are further apart than that (0.4% to 0.8% in bfloat16), rounding to
nearest would never let it move. A number between neighbours $a < x < b$ is therefore
rounded to $b$ with probability $(x - a) / (b - a)$, so that its mean is $x$ (Gupta et
al., "Deep learning with limited numerical precision", 2015, arXiv:1502.02551).

The noise is a hash of the element's index and the step (the last mixing of MurmurHash3,
by Appleby), so that an update stays a pure function that needs no key, and costs little.
"""

import jax
import jax.numpy as jnp


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
