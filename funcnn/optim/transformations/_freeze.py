"""Updates in, 0 out for params that are to stay as they are."""

from typing import NamedTuple

import jax.numpy as jnp

from funcnn.optim.protocol._masks import Mask, spread
from funcnn.optim.protocol._optimizer import Optimizer, stateless
from funcnn.optim.protocol._trees import checked, flatten


class FreezeState(NamedTuple):
    """Freezing remembers nothing."""


def freeze(mask: Mask) -> Optimizer:
    """Set updates to 0 where the mask is true: these params stay as they are.

    Last in a chain. To save the state that other optimizers keep of frozen leaves, use
    `partition({"train": adam(1e-3), "frozen": freeze(True)}, labels)`.

    Args:
        mask: what to freeze: a pytree of bools like params, or a prefix of it (True is
            all), or a function of params that returns one.

    Returns:
        An `Optimizer` for use in a chain.

    Raises:
        TypeError: if a leaf is not floating-point.
        ValueError: if the mask's structure is no prefix of that of params.
    """

    def change(grads, params):
        leaves, tree = flatten(checked("freeze", grads, params))
        found = spread("freeze", "a mask", mask, grads if params is None else params)
        pairs = zip(leaves, found, strict=True)
        new = [jnp.zeros_like(a) if frozen else a for a, frozen in pairs]
        return tree.unflatten(new)

    return stateless(FreezeState, change)
