"""Params in, the mask of those that are usually meant to decay out."""

from collections.abc import Sequence

import chex
from jax.tree_util import tree_map_with_path

from funcnn.foundation._paths import as_patterns, first_match, path_of
from funcnn.optim.protocol._trees import shape_of

WEIGHTS = ("*weight", "*kernel", "w", "*/w")
NEVER = ("*norm*",)


def decay_mask(
    params: chex.ArrayTree,
    weights: str | Sequence[str] = WEIGHTS,
    never: str | Sequence[str] = NEVER,
) -> chex.ArrayTree:
    """Where weights decay: in products, not in biases, norms and embeddings.

    As it goes by names, it is right for stacks of layers, whose biases have two axes. It is
    a `mask` as it is; with arguments of its own, through `functools.partial`:

        optim.adamw(1e-3, weight_decay=0.1, mask=optim.decay_mask)

    Args:
        params: arrays, or what has their shapes.
        weights: a shell's patterns, or one, of the paths of what decays, as in
            `train.shard`: what is called "weight", as by `layers`, "kernel", as by Flax, or
            "w", as by Haiku. What is called otherwise does not decay.
        never: patterns of what does not, though its name is of those: norms' weights, as
            PyTorch and Equinox have them, are known by "norm" in their path.

    Returns:
        A pytree like `params` of bools, False also of whatever has fewer than two axes.

    Raises:
        TypeError: if a pattern is no string.
    """
    weights = as_patterns("decay_mask", "weights", weights)
    never = as_patterns("decay_mask", "never", never)

    def decays(path, w):
        name = path_of(path)
        named = first_match(name, weights) is not None and first_match(name, never) is None
        return named and len(shape_of(w)) > 1

    return tree_map_with_path(decays, params)
