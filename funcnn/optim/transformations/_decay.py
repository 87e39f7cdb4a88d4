r"""L2 regularisation as a transformation of the gradient.

$$g \leftarrow g + \lambda W,$$

the gradient of the loss plus $\frac{\lambda}{2} \lVert W \rVert^2$ (Hoerl & Kennard,
"Ridge regression", 1970; Krogh & Hertz, "A simple weight decay can improve
generalization", 1991).
"""

import math
from typing import NamedTuple

import chex

from funcnn.optim.protocol._leaves import leafwise
from funcnn.optim.protocol._masks import Mask, spread
from funcnn.optim.protocol._optimizer import Optimizer, stateless
from funcnn.optim.protocol._rates import hyperparameter
from funcnn.optim.protocol._trees import flatten, float_leaves, match, need_params


class DecayState(NamedTuple):
    """Weight decay remembers nothing."""


def add_decayed_weights(rate: chex.Numeric, mask: Mask = None) -> Optimizer:
    r"""Add $\lambda W$ to the gradient.

    Before `sgd` or `adam` in a chain this is L2 regularisation, PyTorch's
    `weight_decay`; `adamw` decays the weights apart from the gradient.

    Args:
        rate: $\lambda$, a scalar of at least 0, which may be traced.
        mask: which leaves decay, as in `adamw`: `decay_mask` is one.

    Returns:
        An `Optimizer` whose `update` needs params, and keeps the gradients' dtypes.

    Raises:
        TypeError: if `rate` is no number or, in `update`, a leaf is not floating-point.
        ValueError: if `rate` is negative or not finite, `update` gets no params, or
            gradients do not match the params in structure and shapes.
    """
    name = "add_decayed_weights"
    hyperparameter(name, "rate", rate, below=math.inf)

    def change(grads, params):
        need_params(name, params)
        grads = float_leaves(name, "gradients", grads)
        match(name, "gradients", grads, params)
        decays = spread(name, "a mask", True if mask is None else mask, params)
        leaves, tree = flatten(grads)
        trios = zip(leaves, tree.flatten_up_to(params), decays, strict=True)
        return tree.unflatten([decay(*trio) for trio in trios])

    def decay(g, w, decays):
        return leafwise(lambda g, w, r: g + r * w, (g, w), rate) if decays else g

    return stateless(DecayState, change)
