r"""Gradient centralization: $g \leftarrow g - {\rm mean}(g)$, for each output on its own.

Yong, Huang, Hua & Zhang, "Gradient centralization: a new optimization technique for deep
neural networks", 2020, arXiv:2004.01461. Outputs are the last axis here, so that the mean
is over all others; optax takes the first axis for them, as PyTorch's weights have it.
"""

from typing import NamedTuple

from funcnn.optim.protocol._leaves import leafwise
from funcnn.optim.protocol._optimizer import Optimizer, stateless
from funcnn.optim.protocol._trees import checked


class CentralizeState(NamedTuple):
    """Centralization remembers nothing."""


def centralize() -> Optimizer:
    """Take from each gradient of two axes or more its mean over all axes but the last.

    In a stack of layers that is the mean over all of them, also of biases: see `per_layer`.

    Returns:
        An `Optimizer` that keeps the gradients' dtypes, for use in a chain.

    Raises:
        TypeError: in `update`, if a leaf is not floating-point.
    """

    def change(grads, params):
        return leafwise(centred, (checked("centralize", grads, params),))

    return stateless(CentralizeState, change)


def centred(g):
    """One leaf without its mean; one without elements has none."""
    if g.ndim < 2 or not g.size:
        return g
    return g - g.mean(tuple(range(g.ndim - 1)), keepdims=True)
