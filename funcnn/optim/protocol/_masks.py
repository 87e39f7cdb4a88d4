"""A mask, or labels, in; one for each leaf out."""

from typing import Any

import jax
from jax.tree_util import keystr, tree_flatten_with_path

from funcnn.optim.protocol._trees import unlike

# A pytree of bools like params or a prefix of it, a function of params that returns one,
# or None for all leaves.
Mask = Any


def spread(name, what, labels, tree):
    """One label for each leaf of `tree`, in a list.

    Args:
        name: of the optimizer, for errors.
        what: the labels are called.
        labels: a pytree of them, or of such for whole subtrees (a single one will do for
            all), or a function of `tree` that returns one.
        tree: the pytree to label.

    Raises:
        ValueError: if the labels' structure is no prefix of the tree's.
    """
    if callable(labels):
        labels = labels(tree)
    try:
        spread_out = jax.tree.map(
            lambda label, part: [label] * len(jax.tree.leaves(part)), labels, tree
        )
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{name} needs {what} whose structure is that of params, or a prefix of it; "
            f"{difference(labels, tree)}."
        ) from error
    return jax.tree.leaves(spread_out)


def difference(labels, tree):
    """What labels lack, or have and params do not, by the first path of each."""
    given = [path for path, _ in tree_flatten_with_path(labels)[0]]
    needed = [path for path, _ in tree_flatten_with_path(tree)[0]]
    missing = [p for p in needed if not any(p[: len(g)] == g for g in given)]
    strange = [g for g in given if not any(p[: len(g)] == g for p in needed)]
    words = [f"there is none for {keystr(p)}" for p in missing[:1]]
    words += [f"got one for {keystr(g)}, which params have not" for g in strange[:1]]
    if not words:  # the same paths, in containers of other kinds
        words = [f"got {unlike(labels, tree)}"]
    return ", and ".join(words)


def as_bools(mask):
    """Labels True and False from a mask of anything that is true or false."""
    if callable(mask):
        return lambda tree: jax.tree.map(bool, mask(tree))
    return jax.tree.map(bool, mask)
