r"""Gradients in, each leaf or element no larger than a limit out.

Adaptive clipping compares the gradient of each output with its weights: with norms over all
axes but the last,

$$g \leftarrow
\min\!\left(1, \frac{c\,\max(\lVert W \rVert, \epsilon)}{\lVert g \rVert}\right) g$$

(Brock, De, Smith & Simonyan, "High-performance large-scale image recognition without
normalization", 2021, arXiv:2102.06171).
"""

import math

import chex
import jax.numpy as jnp

from funcnn.optim.protocol._leaves import leafwise
from funcnn.optim.protocol._optimizer import Optimizer, stateless
from funcnn.optim.protocol._rates import hyperparameter, hyperparameters
from funcnn.optim.protocol._trees import checked, need_params
from funcnn.optim.transformations._clip import ClipState, at_most_one


def clip(limit: chex.Numeric) -> Optimizer:
    """Bring each element of the gradients into `[-limit, limit]`.

    Args:
        limit: a scalar of at least 0, which may be traced.

    Returns:
        An `Optimizer` that keeps the gradients' dtypes, for use in a chain.

    Raises:
        TypeError: if `limit` is no number or, in `update`, a leaf is not floating-point.
        ValueError: if `limit` is negative or not a scalar.
    """
    hyperparameter("clip", "limit", limit)
    return leaf_by_leaf("clip", lambda g, c: jnp.clip(g, -c, c), limit)


def clip_by_block_rms(limit: chex.Numeric) -> Optimizer:
    """Scale each leaf down to a root mean square of `limit`, when its own is greater.

    A stack of layers is one leaf: see `per_layer`.

    Args:
        limit: a scalar of at least 0, which may be traced.

    Returns:
        An `Optimizer` that keeps the gradients' dtypes, for use in a chain.

    Raises:
        TypeError: if `limit` is no number or, in `update`, a leaf is not floating-point.
        ValueError: if `limit` is negative or not a scalar.
    """
    hyperparameter("clip_by_block_rms", "limit", limit)

    def rule(g, limit):
        return g * at_most_one(limit, rms(g))

    return leaf_by_leaf("clip_by_block_rms", rule, limit)


def adaptive_grad_clip(limit: chex.Numeric, eps: chex.Numeric = 1e-3) -> Optimizer:
    r"""Clip the gradient of each output by the norm of its weights.

    A leaf with at most one axis longer than 1 is taken as a whole. (optax takes the axes of
    arrays with three for others.) In a stack, an output is one of all layers: see
    `per_layer`.

    Args:
        limit: $c$, at least 0: the largest ratio of norms; 0.01 is usual.
        eps: $\epsilon$, at least 0: the least norm to reckon with, as weights may be 0.

    Returns:
        An `Optimizer` whose `update` needs params, and keeps the gradients' dtypes.

    Raises:
        TypeError: if an argument is no number or, in `update`, a leaf is not
            floating-point.
        ValueError: if an argument lies outside its range, `update` gets no params, or
            gradients do not match the params.
    """
    name = "adaptive_grad_clip"
    hyperparameter(name, "limit", limit, below=math.inf)
    hyperparameters(name, eps=eps)

    def rule(g, w, limit, eps):
        return g * at_most_one(limit * jnp.maximum(unit_norm(w), eps), unit_norm(g))

    return leaf_by_leaf(name, rule, limit, eps, why="it compares them")


def leaf_by_leaf(name, rule, *scalars, why=None):
    """An optimizer without state from the rule of one leaf, which may need weights."""

    def change(grads, params):
        if why is not None:
            need_params(name, params, why)
        grads = checked(name, grads, params)
        trees = (grads,) if why is None else (grads, params)
        return leafwise(rule, trees, *scalars)

    return stateless(ClipState, change)


def rms(a):
    """The root mean square of one array, 0 of an empty one."""
    return jnp.sqrt(jnp.sum(a * a) / max(a.size, 1))


def unit_norm(a):
    """The norm of each output's part of an array, of size 1 along all other axes."""
    units = sum(size > 1 for size in a.shape) > 1
    axes = tuple(range(a.ndim - 1)) if units else None
    return jnp.sqrt(jnp.sum(a * a, axis=axes, keepdims=True))
