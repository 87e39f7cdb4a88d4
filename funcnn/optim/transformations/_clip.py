r"""Clipping of gradients by their norm, all leaves taken as one vector.

$$\lVert g \rVert = \sqrt{\textstyle\sum_{\rm leaves} \sum g^2}, \qquad
g \leftarrow \min\!\left(1, \frac{c}{\lVert g \rVert}\right) g$$

(Pascanu, Mikolov & Bengio, 2013, arXiv:1211.5063).

**Hard points.** Gradients that are all 0 stay so, and the norm's own derivative at 0 is
taken to be 0. A gradient with an inf or a NaN gives NaN, so that the fault shows;
finite gradients whose squares overflow have norm inf and are clipped to 0.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from funcnn.foundation._dtypes import accumulator, promote
from funcnn.optim.protocol._optimizer import Optimizer
from funcnn.optim.protocol._rates import hyperparameter
from funcnn.optim.protocol._trees import checked, float_leaves, leafwise


class ClipState(NamedTuple):
    """Clipping remembers nothing."""


def global_norm(tree: Any) -> jax.Array:
    """The Euclidean norm of all leaves taken as one vector.

    Args:
        tree: any pytree of floating-point arrays; an empty one has norm 0.

    Returns:
        Shape `()`, summed in at least float32, which is its dtype.

    Raises:
        TypeError: if a leaf is not floating-point.
    """
    leaves = jax.tree.leaves(float_leaves("global_norm", "leaves", tree))
    sums = [jnp.sum(a.astype(accumulator(a.dtype)) ** 2) for a in leaves]
    sums = sums or [jnp.zeros((), jnp.float32)]
    # One sum of an array: XLA would copy a chain of sums into what is done to each leaf.
    dtype = promote(*sums)
    total = jnp.sum(jnp.stack([a.astype(dtype) for a in sums]))
    zero = total == 0  # where the square root has no derivative
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, total)))


def clip_by_global_norm(limit: ArrayLike) -> Optimizer:
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

    def init(params):
        del params
        return ClipState()

    def update(grads, state, params=None):
        grads = checked("clip_by_global_norm", grads, params)
        norm = global_norm(grads)
        most = jnp.asarray(limit, norm.dtype)
        within = norm <= most  # False of a NaN
        # Last comes a division, which XLA makes once: a `where` it would copy, with the
        # whole norm behind it, into what is done to each leaf.
        factor = jnp.where(within, 1, most) / jnp.where(within, 1, norm)
        return leafwise(lambda g, f: f * g, (grads,), factor), state

    return Optimizer(init, update)
