r"""Gradients in, no longer than a limit out, all leaves taken as one vector.

$$g \leftarrow \min\!\left(1, \frac{c}{\lVert g \rVert}\right) g$$

(Pascanu, Mikolov & Bengio, 2013, arXiv:1211.5063).

**Hard points.** Gradients that are all 0 stay so. A gradient with an inf or a NaN gives
NaN, so that the fault shows; finite gradients whose squares overflow have norm inf and
are clipped to 0.
"""

from typing import NamedTuple

import chex
import jax.numpy as jnp

from funcnn.optim.measures._norm import global_norm
from funcnn.optim.protocol._leaves import leafwise
from funcnn.optim.protocol._optimizer import Optimizer, stateless
from funcnn.optim.protocol._rates import hyperparameter
from funcnn.optim.protocol._trees import checked


class ClipState(NamedTuple):
    """Clipping remembers nothing."""


def clip_by_global_norm(limit: chex.Numeric) -> Optimizer:
    """Scale gradients down to a global norm of `limit`, when theirs is greater.

    All leaves are multiplied by `min(1, limit / global_norm(grads))`. (PyTorch's
    `clip_grad_norm_` adds 1e-6 to that norm; optax does not.)

    Args:
        limit: a scalar of at least 0, which may be traced.

    Returns:
        An `Optimizer` that keeps the gradients' dtypes, for use in a chain.

    Raises:
        TypeError: if `limit` is no number or, in `update`, a leaf is not floating-point.
        ValueError: if `limit` is negative or not a scalar.
    """
    hyperparameter("clip_by_global_norm", "limit", limit)

    def change(grads, params):
        grads = checked("clip_by_global_norm", grads, params)
        norm = global_norm(grads)
        factor = at_most_one(jnp.asarray(limit, norm.dtype), norm)
        return leafwise(lambda g, f: f * g, (grads,), factor)

    return stateless(ClipState, change)


def at_most_one(most, norm):
    """`min(1, most / norm)`, and NaN of a NaN."""
    within = norm <= most  # False of a NaN
    # Last comes a division, which XLA makes once: a `where` it would copy, with the
    # whole norm behind it, into what is done to each leaf.
    return jnp.where(within, 1, most) / jnp.where(within, 1, norm)
