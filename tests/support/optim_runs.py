"""Params and gradients that optimizers are run on, and the runs, in float64."""

from typing import NamedTuple

import chex
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


def stacked(trees):
    """Trees as one, with an axis more in front."""
    return jax.tree.map(lambda *a: np.stack(a), *trees)


RNG = np.random.default_rng(0)
PARAMS = jax.tree.map(jnp.asarray, tree(RNG))
GRADS = jax.tree.map(jnp.asarray, stacked([tree(RNG) for _ in range(STEPS)]))


def grads_at(step):
    return jax.tree.map(lambda a: jnp.asarray(np.asarray(a)[step]), GRADS)


def cast(tree, dtype):
    return jax.tree.map(lambda a: a.astype(dtype), tree)


def trajectory(optimizer, promotion="strict", start=PARAMS, all_grads=GRADS):
    """Params after each step on the same gradients, in one compiled scan."""

    def body(carry, grads):
        params, state = carry
        updates, state = optimizer.update(grads, state, params)
        params = jax.tree.map(jnp.add, params, updates)
        return (params, state), params

    with jax.numpy_dtype_promotion(promotion):
        carry = start, optimizer.init(start)
        return jax.jit(lambda: jax.lax.scan(body, carry, all_grads))()[1]


def short_trajectory(optimizer, promotion="strict"):
    """Of a matrix and a scalar, in few steps: less to compile."""
    few = jax.tree.map(lambda a: a[:12], pair(GRADS))
    return trajectory(optimizer, promotion, pair(PARAMS), few)


def first_steps(optimizer, promotion="strict", steps=8, dtype=jnp.float64):
    """Params after each of the first steps, operation by operation.

    An operation is compiled once for all optimizers, which costs a tenth of what a
    program for each does; not so one that branches, whose `cond` is compiled in each step.
    """
    params, found = cast(fewer_shapes(PARAMS), dtype), []
    with jax.numpy_dtype_promotion(promotion):
        state = optimizer.init(params)
        for step in range(steps):
            grads = cast(fewer_shapes(grads_at(step)), dtype)
            updates, state = optimizer.update(grads, state, params)
            params = jax.tree.map(lambda w, u: w + u.astype(w.dtype), params, updates)
            found.append(params)
    return stacked(found)


def pair(tree):
    """The first matrix and the scalar."""
    return {"w": tree["stem"].weight, "b": tree["body"][1]}


def fewer_shapes(tree):
    """With two matrices of one shape, so that there are fewer operations to compile."""
    head = tree["head"].weight
    return tree | {"head": Block(jnp.asarray(np.asarray(head)[:4].T), None)}


def assert_close(got, want, rtol=1e-12):
    """Relative to the leaf's largest number, as elements pass through 0."""
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert np.isfinite(g).all()
        np.testing.assert_allclose(g, w, rtol=rtol, atol=rtol * np.abs(w).max(initial=0))


def assert_trees_close(got, want, rtol=1e-12, atol=1e-14):
    chex.assert_trees_all_equal_shapes_and_dtypes(got, want)
    chex.assert_trees_all_close(got, want, rtol=rtol, atol=atol)
