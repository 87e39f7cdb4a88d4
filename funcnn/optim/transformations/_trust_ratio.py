r"""Layerwise trust ratios: steps in proportion to the weights they change.

$$u \leftarrow c\,\frac{\lVert W \rVert}{\lVert u \rVert + \epsilon}\,u$$

for each leaf on its own, and $u$ as it is where either norm is 0 (You, Gitman & Ginsburg,
"Large batch training of convolutional networks", 2017, arXiv:1708.03888).
"""

import math
from typing import NamedTuple

import chex
import jax.numpy as jnp

from funcnn.optim.leafwise._method import method
from funcnn.optim.protocol._optimizer import Optimizer
from funcnn.optim.protocol._rates import hyperparameter, hyperparameters

WHY = "steps are in proportion to weights"


class TrustRatioState(NamedTuple):
    """Updates made so far."""

    step: chex.Array


def scale_by_trust_ratio(
    coefficient: chex.Numeric = 1.0, eps: chex.Numeric = 0.0
) -> Optimizer:
    r"""Give each leaf's update a norm in proportion to that of its weights.

    A stack of layers is one leaf, with one norm: see `per_layer`.

    Args:
        coefficient: $c$, at least 0.
        eps: $\epsilon$, at least 0.

    Returns:
        An `Optimizer` whose `update` needs params, for use in a chain.

    Raises:
        TypeError: if an argument is no number, or a leaf is not floating-point.
        ValueError: if an argument lies outside its range, `update` gets no params, or
            gradients do not match the params.
    """
    name = "scale_by_trust_ratio"
    hyperparameter(name, "coefficient", coefficient, below=math.inf)
    hyperparameters(name, eps=eps)

    def rule(g, coefficient, eps, *, w):
        return (trusted(g, w, coefficient, eps),)

    return method(name, TrustRatioState, rule, lambda t: (coefficient, eps), why=WHY)


def trusted(u, w, coefficient, eps):
    """One leaf's update in proportion to its weights."""
    of_w, of_u = norm(w), norm(u)
    known = (of_w != 0) & (of_u != 0)
    ratio = coefficient * of_w / (jnp.where(known, of_u, 1) + eps)
    return u * jnp.where(known, ratio, 1)


def norm(a):
    """The Euclidean norm of one array."""
    return jnp.sqrt(jnp.sum(a * a))
