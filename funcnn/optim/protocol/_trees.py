"""Pytrees in, the same out with arrays as leaves, or an error that names a leaf."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import keystr, tree_flatten_with_path


def float_leaves(optimizer, what, tree):
    """Return `tree` with its leaves as arrays.

    Raises:
        TypeError: if a leaf is not of a floating-point dtype.
    """
    leaves, treedef = flatten(tree)
    for i, dtype in enumerate(map(dtype_of, leaves)):
        if not jnp.issubdtype(dtype, jnp.floating):
            path = place(tree_flatten_with_path(tree)[0][i][0])
            raise TypeError(
                f"{optimizer} needs {what} of a floating-point dtype; "
                f"got {dtype} at {path}."
            )
    return treedef.unflatten([jnp.asarray(a) for a in leaves])


def checked(optimizer, grads, params):
    """Return gradients as arrays, if they match the params that there may be.

    Raises:
        TypeError: if a leaf is not of a floating-point dtype.
        ValueError: if there are params, and they differ in structure or shapes.
    """
    grads = float_leaves(optimizer, "gradients", grads)
    if params is not None:
        match(optimizer, "gradients", grads, params)
    return grads


def flatten(tree) -> tuple[list, Any]:
    """Leaves and structure, as `jax.tree.flatten`."""
    return jax.tree.flatten(tree)


def dtype_of(a):
    """The dtype of an array or a Python number."""
    return a.dtype if hasattr(a, "dtype") else jnp.result_type(a)


def shape_of(a):
    """The shape of an array, of a Python number, or of what stands for an array."""
    return a.shape if hasattr(a, "shape") else jnp.shape(a)


def match(optimizer, what, tree, like, model="params"):
    """Check that `tree` has the structure and the shapes of `like`.

    Raises:
        ValueError: naming the optimizer and, where it can be told, the first leaf that
            differs and both shapes.
    """
    (leaves, treedef), (others, needed_treedef) = map(flatten, (tree, like))
    same = treedef == needed_treedef
    if same and all(map(lambda a, b: shape_of(a) == shape_of(b), leaves, others)):
        return
    got, needed = shapes(tree), shapes(like)
    for path in [*needed, *got]:
        if got.get(path) != needed.get(path):
            raise ValueError(
                f"{optimizer} needs {what} with {described(needed, path)} at {path}, "
                f"as in {model}; got {described(got, path)}."
            )
    raise ValueError(
        f"{optimizer} needs {what} of the structure of {model}, {needed_treedef}; "
        f"got {treedef} ({unlike(tree, like, model)})."
    )


def check_own(optimizer, state, kind):
    """Check that a state is of this optimizer, as far as its class tells.

    Raises:
        TypeError: if it is of another.
    """
    if not isinstance(state, kind):
        raise TypeError(
            f"{optimizer} needs a state of its own, {kind.__name__}; "
            f"got {type(state).__name__}."
        )


def unlike(tree, like, model="params"):
    """In words, the first node of trees with leaves at the same paths that differs."""
    got, needed = nodes(tree), nodes(like)
    path = next(p for p in [*needed, *got] if got.get(p) != needed.get(p))
    there = [found.get(path, "nothing") for found in (got, needed)]
    if there[0] == there[1]:
        return f"{there[0]} of another structure at {path or 'the root'}"
    return f"{there[0]} at {path or 'the root'}, where {model} have {there[1]}"


def nodes(tree, path=()):
    """The kind of each node that is no leaf, by the name of its place."""
    if all(leaf is tree for leaf in jax.tree.leaves(tree)) and jax.tree.leaves(tree):
        return {}
    children, _ = tree_flatten_with_path(tree, is_leaf=lambda a: a is not tree)
    found = {keystr(path): "None" if tree is None else f"a {type(tree).__name__}"}
    for key, child in children:
        found |= nodes(child, (*path, *key))
    return found


def described(shapes, path):
    """One leaf's shape in words, also of a leaf that is missing."""
    return f"shape {shapes[path]}" if path in shapes else "no leaf"


def shapes(tree):
    """The shape of each leaf, by the name of its place."""
    return {place(path): shape_of(a) for path, a in tree_flatten_with_path(tree)[0]}


def place(path):
    """A leaf's path in words, also when the tree is the leaf."""
    return keystr(path) or "the root"


def need_params(optimizer, params, why="its weights decay"):
    """Raise ValueError if `update` came without params."""
    if params is None:
        raise ValueError(
            f"{optimizer} needs params, as {why}: update(grads, state, params); got None."
        )
