"""What tests of layers share: inputs, params, and shapes of what a layer gives."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.layer_samples import IDS

KEY = jax.random.key(0)


def normal(shape, dtype=jnp.float64):
    """An input: integers for `IDS`."""
    rng = np.random.default_rng(1)
    if shape is IDS:
        return jnp.asarray(rng.integers(0, 7, IDS.shape), IDS.dtype)
    return jnp.asarray(rng.standard_normal(shape), dtype)


@functools.cache
def abstract(layer, shape, dtype=jnp.float32):
    """What `init` and `apply` give, without the time to compute it."""
    plain = isinstance(shape, tuple) and all(isinstance(n, int) for n in shape)
    x = jax.ShapeDtypeStruct(shape, dtype) if plain else shape
    params = jax.eval_shape(layer.init, KEY, x)
    return params, jax.eval_shape(layer.apply, params, x)


def drawn(layer, shape, dtype=jnp.float64, seed=3, scale=1.0):
    """Params with nothing of their beginnings left: no zeros, no ones."""
    return filled(abstract(layer, shape, dtype)[0], dtype, seed, scale)


def filled(tree, dtype=jnp.float64, seed=3, scale=1.0):
    """Arrays of these shapes."""
    rng = np.random.default_rng(seed)

    def draw(a):
        return jnp.asarray(scale * rng.standard_normal(a.shape), dtype)

    return jax.tree.map(draw, tree)


def by_key(key, shape, dtype):
    """An initializer that tells keys apart, and compiles in no time."""
    number = jax.random.key_data(key)[..., 0] // 2**8  # which float32 holds
    varied = np.cos(np.arange(np.prod(shape))).reshape(shape)
    return (number.astype(jnp.float32) / 2**24).astype(dtype) + varied.astype(dtype)


def shapes(tree):
    return jax.tree.map(lambda a: a.shape, tree)


def dtypes(tree):
    return {a.dtype for a in jax.tree.leaves(tree)}


def assert_equal(got, want, rtol=0.0):
    jax.tree.map(lambda g, w: np.testing.assert_allclose(g, w, rtol, rtol), got, want)


def close(got, want, tolerance=1e-12):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    jax.tree.map(lambda g, w: np.testing.assert_allclose(g, w, 0, tolerance), got, want)


def fails(kind, message, f, *args, note=None, **kwargs):
    with pytest.raises(kind, match=re.escape(message)) as caught:
        f(*args, **kwargs)
    if note:
        assert note in caught.value.__notes__
