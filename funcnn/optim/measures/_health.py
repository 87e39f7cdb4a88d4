"""Gradients, updates and params in, numbers for a step to return as metrics out."""

import chex
import jax
import jax.numpy as jnp
from jax.tree_util import tree_flatten_with_path

from funcnn.foundation._dtypes import upcast
from funcnn.optim.measures._norm import global_norm
from funcnn.optim.protocol._trees import float_leaves, match, place


def leaf_norms(tree: chex.ArrayTree) -> dict[str, jax.Array]:
    """The Euclidean norm of each leaf, by its path.

    A stack of layers is one leaf; `jax.vmap(leaf_norms)` of its params tells each layer's.

    Args:
        tree: gradients, updates or params.

    Returns:
        Scalars, in at least float32.

    Raises:
        TypeError: if a leaf is not floating-point.
    """
    return by_path(global_norm, float_leaves("leaf_norms", "leaves", tree))


def update_ratios(updates: chex.ArrayTree, params: chex.ArrayTree) -> dict[str, jax.Array]:
    """The norm of each leaf's update over that of its params, by its path.

    About 1e-3 is usual; much less learns nothing, much more forgets. Where params are all
    0, it is inf, or 0 if nothing changes.

    Args:
        updates: what `update` returns.
        params: what they are added to.

    Returns:
        Scalars, in at least float32.

    Raises:
        TypeError: if a leaf is not floating-point.
        ValueError: if updates do not match the params in structure and shapes.
    """
    match("update_ratios", "updates", updates, params)
    of_updates, of_params = leaf_norms(updates), leaf_norms(params)

    def ratio(u, w):
        u, w = u.astype(jnp.result_type(float)), w.astype(jnp.result_type(float))
        return jnp.where(w == 0, jnp.where(u == 0, 0, jnp.inf), u / jnp.where(w == 0, 1, w))

    return {path: ratio(u, of_params[path]) for path, u in of_updates.items()}


def nonfinite_counts(tree: chex.ArrayTree) -> dict[str, jax.Array]:
    """How many elements of each leaf are NaN or inf, by its path.

    Args:
        tree: gradients, updates or params.

    Returns:
        Scalars of int32.

    Raises:
        TypeError: if a leaf is not floating-point.
    """

    def count(a):
        return jnp.sum(~jnp.isfinite(a), dtype=jnp.int32)

    return by_path(count, float_leaves("nonfinite_counts", "leaves", tree))


def nonfinite_paths(tree: chex.ArrayTree) -> list[str]:
    """The paths of leaves that hold a NaN or an inf, outside of jit.

    Args:
        tree: gradients, updates or params, whose values are known.

    Raises:
        TypeError: if a leaf is not floating-point.
    """
    return [path for path, count in nonfinite_counts(tree).items() if int(count)]


def health(
    grads: chex.ArrayTree,
    updates: chex.ArrayTree | None = None,
    params: chex.ArrayTree | None = None,
) -> dict[str, jax.Array]:
    """All of these as one flat dict, for a step to return as metrics.

        grads = jax.grad(loss)(params, (images, labels), key)
        updates, opt_state = optimizer.update(grads, optimizer.init(params), params)
        metrics = optim.health(grads, updates, params)

    Args:
        grads: gradients.
        updates: what became of them, or None.
        params: what they are added to; None if `updates` is.

    Returns:
        Scalars: `grad_norm` and `nonfinite` of all gradients, `grad_norm/PATH` and
        `nonfinite/PATH` of each leaf; with updates, `update_norm` and
        `update_ratio/PATH`.

    Raises:
        TypeError: if a leaf is not floating-point.
        ValueError: if updates do not match params, or come without.
    """
    counts = nonfinite_counts(grads)
    total = sum(counts.values(), start=jnp.zeros((), jnp.int32))
    found = {"grad_norm": global_norm(grads), "nonfinite": total}
    found |= {f"grad_norm/{path}": a for path, a in leaf_norms(grads).items()}
    found |= {f"nonfinite/{path}": a for path, a in counts.items()}
    if updates is not None:
        if params is None:
            raise ValueError("health needs params with updates; got None.")
        found["update_norm"] = global_norm(updates)
        ratios = update_ratios(updates, params)
        found |= {f"update_ratio/{path}": a for path, a in ratios.items()}
    return found


def by_path(f, tree):
    """A function of each leaf, by the name of its place."""
    return {place(path): f(upcast(a)) for path, a in tree_flatten_with_path(tree)[0]}
