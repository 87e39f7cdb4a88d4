r"""A loss and params in, an estimate of the Hessian's diagonal out.

Hutchinson's estimate is $\hat h = z \odot \nabla (z^{\sf T} \nabla f)$ for random signs
$z$, whose mean is the diagonal.

Hutchinson, "A stochastic estimator of the trace of the influence matrix", 1989.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from funcnn.optim.protocol._optimizer import Optimizer
from funcnn.optim.protocol._trees import flatten, float_leaves, need_params
from funcnn.optim.transformations._keys import Key

WHY = "its curvature is that of the loss there"


class HutchinsonState(NamedTuple):
    """The key, as numbers."""

    key: chex.Array


def hutchinson(key: chex.PRNGKey) -> Optimizer:
    r"""Estimate the Hessian's diagonal, from one Hessian-vector product.

    The estimate is $z \odot H z$ for random signs $z$ (Hutchinson, 1989). It costs about
    two gradients. Where the model's ops have rules of their own, $H z$ is the gradient of
    $z^{\sf T} \nabla f$, reverse over reverse.

    Args:
        key: a `jax.random.key`, which decides all signs.

    Returns:
        An `Optimizer` for `sophia`, whose `update` needs params and `loss=f` with
        `f(params)` a scalar, and returns the estimate. `value_fn`, as `train.make_step`
        and optax call it, is another name for it.

    Raises:
        TypeError: if `key` is no key, or `update` gets no loss.
        ValueError: if `update` gets no params.
    """
    own = Key("hutchinson", key)

    def init(params):
        del params
        return HutchinsonState(own.start())

    def update(grads, state, params=None, *, loss=None, value_fn=None):
        del grads
        loss = value_fn if loss is None else loss
        need_params("hutchinson", params, WHY)
        if not callable(loss):
            raise TypeError(
                "hutchinson needs loss, a function of params: update(grads, state, params, "
                f"loss=f); got {type(loss).__name__}."
            )
        params = float_leaves("hutchinson", "params", params)
        leaves, tree = flatten(params)
        rest, keys = own.split(state.key, len(leaves))
        pairs = list(zip(keys, leaves, strict=True))
        signs = tree.unflatten(
            [jax.random.rademacher(k, a.shape, a.dtype) for k, a in pairs]
        )

        def along(params):
            slopes = jax.tree.map(
                lambda g, z: jnp.vdot(z, g), jax.grad(loss)(params), signs
            )
            with jax.numpy_dtype_promotion("standard"):
                return sum(jax.tree.leaves(slopes))

        products = jax.grad(along)(params) if leaves else params
        return jax.tree.map(jnp.multiply, signs, products), HutchinsonState(rest)

    return Optimizer(init, update)
