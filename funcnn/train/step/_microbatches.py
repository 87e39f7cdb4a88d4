"""A gradient comes in; its mean over parts of a batch, one after the other, goes out."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax.tree_util import keystr, tree_leaves_with_path

from funcnn.foundation._dtypes import accumulator
from funcnn.losses import Average


def mean_over_microbatches(gradient: Callable, n: int) -> Callable:
    """Return a function that means `gradient` over `n` parts of its batch.

    A part weighs as much as what it counts, and each as much as any other if the loss tells
    no count.

    Args:
        gradient: `gradient(params, batch, key, scale) -> (grads, (value, metrics, count))`,
            pytrees of numbers.
        n: how many parts there are.

    Returns:
        A function like it. Sums are in at least float32, and gradients returned in the
        dtypes that `gradient` gives them. Part `i` is given `fold_in(key, i)`.
    """

    def mean(params, batch, key, scale):
        parts = cut(batch, n)

        def found(i):
            part = jax.tree.map(
                lambda a: jax.lax.dynamic_index_in_dim(a, i, 1, keepdims=False), parts
            )
            return gradient(params, part, jax.random.fold_in(key, i), scale)

        def add(total, i):
            grads, (value, metrics, count) = found(i)
            if count is not None:
                grads, value = jax.tree.map(partial(times, count), (grads, value))
            new = grads, (value, metrics, count)
            return jax.tree.map(lambda t, a: t + a.astype(t.dtype), total, new), None

        like = jax.eval_shape(found, jnp.int32(0))
        zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, accumulator(a.dtype)), like)
        total, _ = jax.lax.scan(add, zeros, jnp.arange(n, dtype=jnp.int32))
        grads, (value, metrics, count) = total
        whole = jnp.float32(n) if count is None else jnp.where(count == 0, 1, count)

        def over(t):
            return t / whole.astype(t.dtype)

        grads = jax.tree.map(lambda t, a: over(t).astype(a.dtype), grads, like[0])
        means = jax.tree.map(
            lambda m: m if isinstance(m, Average) else m / n,
            metrics,
            is_leaf=lambda m: isinstance(m, Average),
        )
        return grads, (over(value), means, count)

    return mean


def times(count, a):
    """The product, in at least float32."""
    dtype = accumulator(a.dtype)
    return a.astype(dtype) * count.astype(dtype)


def cut(batch, n):
    """Split the first axis of each array in two, the second of them of length `n`.

    Part `i` of the batch is then at `[:, i]`. The other way round, a device that holds
    consecutive examples would hold a few parts whole, and wait for the others.

    Raises:
        ValueError: if there is no array, or `n` does not divide the axis of one.
    """
    leaves = tree_leaves_with_path(batch)
    if not leaves:
        raise ValueError(
            f"make_step needs a batch of arrays for {n} microbatches; got {batch}."
        )
    for path, a in leaves:
        shape = jnp.shape(a)
        if not shape or shape[0] % n:
            raise ValueError(
                f"make_step needs arrays with a first axis that {n} microbatches divide; "
                f"got shape {shape} at {keystr(path) or 'the root'} of the batch."
            )
    return jax.tree.map(lambda a: jnp.reshape(a, (a.shape[0] // n, n, *a.shape[1:])), batch)
