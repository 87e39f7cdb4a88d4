r"""A running mean of the params, to evaluate with.

$$\bar W \leftarrow \beta \bar W + (1 - \beta)\,W, \qquad \bar W_0 = W_0$$

(Polyak & Juditsky, "Acceleration of stochastic approximation by averaging", 1992, with a
mean that forgets).
"""

from typing import NamedTuple

import chex
import jax.numpy as jnp

from funcnn.optim.protocol._leaves import leafwise, wide_copy
from funcnn.optim.protocol._optimizer import Optimizer
from funcnn.optim.protocol._rates import hyperparameters
from funcnn.optim.protocol._trees import check_own, float_leaves, match, need_params


class EmaState(NamedTuple):
    """Updates made so far, and the mean of params, like params."""

    step: chex.Array
    mean: chex.ArrayTree


def ema_params(decay: chex.Numeric) -> Optimizer:
    r"""Keep a running mean of params in the state, and pass updates on as they are.

    Last in a chain, as it adds the updates that come to it to the params.

    Args:
        decay: $\beta$ in [0, 1); 0.999 is a mean over about 1000 steps.

    Returns:
        An `Optimizer` whose `update` needs params. The mean, `state.mean`, has at least
        float32, as low precision would round small changes off.

    Raises:
        TypeError: if `decay` is no number, or a leaf is not floating-point.
        ValueError: if it lies outside its range, `update` gets no params, or updates do
            not match the params.
    """
    hyperparameters("ema_params", decay=decay)

    def init(params):
        return EmaState(jnp.zeros((), jnp.int32), wide_copy("ema_params", params))

    def update(grads, state, params=None):
        check_own("ema_params", state, EmaState)
        need_params("ema_params", params, "it averages them")
        grads = float_leaves("ema_params", "updates", grads)
        match("ema_params", "updates", grads, params)
        match("ema_params", "updates", grads, state.mean, "the mean in its state")
        trees = state.mean, params, grads
        mean = leafwise(lambda m, w, u, b, a: b * m + a * (w + u), trees, decay, 1 - decay)
        return grads, EmaState(state.step + 1, mean)

    return Optimizer(init, update)
