"""A key in, numbers out that any checkpoint can hold, and keys to draw with."""

import jax
import jax.numpy as jnp


class Key:
    """A key as numbers, which any checkpoint can hold, and how to draw with it."""

    def __init__(self, name, key):
        dtype = getattr(key, "dtype", None)
        self.typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
        raw = dtype == jnp.uint32 and key.shape in ((2,), (4,))
        if not (raw or (self.typed and key.shape == ())):
            raise TypeError(f"{name} needs a jax.random.key; got {key!r}.")
        self.impl = jax.random.key_impl(key) if self.typed else None
        self.numbers = jax.random.key_data(key) if self.typed else key

    def start(self):
        """The numbers to begin with; a copy, which a step may donate."""
        return jnp.array(self.numbers, copy=True)

    def split(self, numbers, count):
        """The numbers to go on with, and `count` keys."""
        key = jax.random.wrap_key_data(numbers, impl=self.impl) if self.typed else numbers
        rest, sample = jax.random.split(key)
        rest = jax.random.key_data(rest) if self.typed else rest
        return rest, list(jax.random.split(sample, count)) if count else []
