"""Params and gradients that optimizers are run on, in float64."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

STEPS = 500


class Block(NamedTuple):
    weight: jax.Array
    bias: jax.Array | None


def tree(rng):
    """Nested, with matrices both ways, a kernel, a vector, a scalar, None and nothing."""
    return {
        "stem": Block(rng.standard_normal((3, 4)), rng.standard_normal(4)),
        "body": ((), rng.standard_normal(()), [rng.standard_normal((2, 2, 3))]),
        "head": Block(rng.standard_normal((6, 3)), None),
    }


RNG = np.random.default_rng(0)
PARAMS = jax.tree.map(jnp.asarray, tree(RNG))
GRADS = jax.tree.map(lambda *a: jnp.stack(a), *(tree(RNG) for _ in range(STEPS)))


def trajectory(optimizer, promotion="strict"):
    """Params after each step on the same gradients, in one scan: one trace for all."""

    def body(carry, grads):
        params, state = carry
        updates, state = optimizer.update(grads, state, params)
        params = jax.tree.map(jnp.add, params, updates)
        return (params, state), params

    with jax.numpy_dtype_promotion(promotion):
        start = PARAMS, optimizer.init(PARAMS)
        return jax.jit(lambda: jax.lax.scan(body, start, GRADS))()[1]


def assert_close(got, want, rtol=1e-12):
    """Relative to the leaf's largest number, as elements pass through 0."""
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert np.isfinite(g).all()
        np.testing.assert_allclose(g, w, rtol=rtol, atol=rtol * np.abs(w).max(initial=0))


def assert_trees_close(got, want, rtol=1e-12, atol=1e-14):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert (g.shape, g.dtype) == (w.shape, w.dtype)
        g, w = (np.asarray(a, np.float64) for a in (g, w))
        np.testing.assert_allclose(g, w, rtol, atol)
