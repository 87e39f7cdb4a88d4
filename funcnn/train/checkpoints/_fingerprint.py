r"""A number that tells arrays apart, whatever devices they are on.

The sum of $h(b_i + ci)$ modulo $2^{32}$, over the bits $b_i$ of the $i$-th element, taken
as an integer, for an odd $c$ and an $h$ that is one to one and mixes all bits. One element
that changes always changes it; several do but for one case in $2^{32}$ or so. Sums of
integers are exact, so no order of summing, and so no sharding, matters. $h$ is the last
step of Appleby's MurmurHash3, and $c$ is $2^{32}$ over the golden ratio.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax


@jax.jit
def fingerprint(a: jax.Array) -> jax.Array:
    """Return an integer of 32 bits, computed where `a` is."""
    if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
        a = jax.random.key_data(a)
    if jnp.issubdtype(a.dtype, jnp.complexfloating):
        return fingerprint(a.real) + jnp.uint32(3) * fingerprint(a.imag)
    words = as_words(a)
    place = jnp.zeros(words.shape, jnp.uint32)
    for axis in range(words.ndim):
        stride = jnp.uint32(math.prod(words.shape[axis + 1 :]) % 2**32)
        place += stride * lax.broadcasted_iota(jnp.uint32, words.shape, axis)
    return jnp.sum(mixed(words + jnp.uint32(0x9E3779B9) * place), dtype=jnp.uint32)


def mixed(h):
    """The bits of each integer, so mixed that each depends on all."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        h = (h ^ (h >> jnp.uint32(shift))) * jnp.uint32(factor)
    return h


def as_words(a):
    """The bits of each element as one integer of 32 bits; as two, if it has 64."""
    if a.dtype == bool or jnp.dtype(a.dtype).name in ("int2", "int4", "uint2", "uint4"):
        return a.astype(jnp.int8).astype(jnp.uint32)
    width = 8 * a.dtype.itemsize
    unsigned = jnp.uint32 if width == 64 else jnp.dtype(f"uint{width}")
    return lax.bitcast_convert_type(a, unsigned).astype(jnp.uint32)
