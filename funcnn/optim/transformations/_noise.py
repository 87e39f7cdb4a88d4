r"""Noise on gradients, which falls from step to step.

In the update $t = 1, 2, \dots$ every element of the gradient gets a normal number of
variance $\eta / t^\gamma$ (Neelakantan et al., "Adding gradient noise improves learning
for very deep networks", 2015, arXiv:1511.06807, where variance falls with
$(1 + t)^\gamma$, from $t = 0$).
"""

import math
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from funcnn.optim.protocol._leaves import leafwise
from funcnn.optim.protocol._optimizer import Optimizer
from funcnn.optim.protocol._rates import hyperparameter
from funcnn.optim.protocol._trees import check_own, checked, flatten
from funcnn.optim.transformations._keys import Key


class NoiseState(NamedTuple):
    """Updates made so far, and the key, as numbers."""

    step: chex.Array
    key: chex.Array


def add_noise(eta: chex.Numeric, gamma: chex.Numeric, key: chex.PRNGKey) -> Optimizer:
    r"""Add normal noise of variance $\eta / t^\gamma$ to the gradients.

    Args:
        eta: $\eta$, at least 0: the variance in the first update.
        gamma: $\gamma$, at least 0; 0.55 in the paper.
        key: a `jax.random.key`, which decides all noise.

    Returns:
        An `Optimizer` that keeps the gradients' dtypes, for use in a chain.

    Raises:
        TypeError: if `key` is no key, a hyperparameter no number, or a leaf is not
            floating-point.
        ValueError: if a hyperparameter lies outside its range.
    """
    hyperparameter("add_noise", "eta", eta, below=math.inf)
    hyperparameter("add_noise", "gamma", gamma, below=math.inf)
    own = Key("add_noise", key)

    def init(params):
        del params
        return NoiseState(jnp.zeros((), jnp.int32), own.start())

    def update(grads, state, params=None):
        check_own("add_noise", state, NoiseState)
        leaves, tree = flatten(checked("add_noise", grads, params))
        step = state.step + 1
        rest, keys = own.split(state.key, len(leaves))
        pairs = zip(keys, leaves, strict=True)
        noise = tree.unflatten([jax.random.normal(k, g.shape, g.dtype) for k, g in pairs])
        t = step.astype(jnp.result_type(float))
        deviation = jnp.sqrt(jnp.asarray(eta, t.dtype)) * t ** (
            -0.5 * jnp.asarray(gamma, t.dtype)
        )
        grads = leafwise(
            lambda g, z, d: g + d * z, (tree.unflatten(leaves), noise), deviation
        )
        return grads, NoiseState(step, rest)

    return Optimizer(init, update)
