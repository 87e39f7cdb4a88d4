"""What optimizers share about pytrees: checks, and leaf-by-leaf arithmetic."""

import jax
import jax.numpy as jnp
from jax.tree_util import keystr, tree_flatten_with_path, tree_map_with_path

from funcnn._numerics import accumulator, promote


def leafwise(f, trees, *scalars):
    """Map `f(*leaves, *scalars)` over `trees`, computing in at least float32.

    The results have the dtype of the first tree's leaves. Leaves and scalars come to
    `f` in one dtype, so `f` needs no thought of promotion.
    """

    def leaf(*leaves):
        arrays = [jnp.asarray(a) for a in leaves]
        dtype = accumulator(promote(*arrays))
        cast = (jnp.asarray(a, dtype) for a in (*arrays, *scalars))
        return f(*cast).astype(arrays[0].dtype)

    return jax.tree.map(leaf, *trees)


def float_leaves(optimizer, what, tree):
    """Return `tree` with its leaves as arrays.

    Raises:
        TypeError: if a leaf is not of a floating-point dtype.
    """

    def leaf(path, a):
        dtype = a.dtype if hasattr(a, "dtype") else jnp.result_type(a)
        if not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(
                f"{optimizer} needs {what} of a floating-point dtype; "
                f"got {dtype} at {place(path)}."
            )
        return jnp.asarray(a)

    return tree_map_with_path(leaf, tree)


def match(optimizer, what, tree, like, model="params"):
    """Check that `tree` has the structure and the shapes of `like`.

    Raises:
        ValueError: naming the optimizer and, where it can be told, the first leaf that
            differs and both shapes.
    """
    got, needed = shapes(tree), shapes(like)
    for path in [*needed, *got]:
        if got.get(path) != needed.get(path):
            raise ValueError(
                f"{optimizer} needs {what} with {described(needed, path)} at {path}, "
                f"as in {model}; got {described(got, path)}."
            )
    treedefs: list = [jax.tree.structure(t) for t in (tree, like)]
    if treedefs[0] != treedefs[1]:
        raise ValueError(
            f"{optimizer} needs {what} of the structure of {model}, {treedefs[1]}; "
            f"got {treedefs[0]}."
        )


def described(shapes, path):
    """One leaf's shape in words, also of a leaf that is missing."""
    return f"shape {shapes[path]}" if path in shapes else "no leaf"


def shapes(tree):
    """The shape of each leaf, by the name of its place."""
    return {place(path): jnp.shape(a) for path, a in tree_flatten_with_path(tree)[0]}


def place(path):
    """A leaf's path in words, also when the tree is the leaf."""
    return keystr(path) or "the root"


def need_params(optimizer, params):
    """Raise ValueError if `update` came without params."""
    if params is None:
        raise ValueError(
            f"{optimizer} needs params, as its weights decay: "
            "update(grads, state, params); got None."
        )


def zeros(tree):
    """Zeros like `tree`, strongly typed so that the first update is like the next."""
    return jax.tree.map(lambda a: jnp.zeros_like(a, dtype=a.dtype), tree)
