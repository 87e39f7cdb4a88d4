r"""Adadelta: steps whose size follows from the sizes of the steps before.

With gradient $g_t$ and learning rate $\eta_t$, from $\nu_0 = \delta_0 = 0$,

$$\nu_t = \rho\,\nu_{t-1} + (1 - \rho)\,g_t^2, \qquad
d_t = \sqrt{\frac{\delta_{t-1} + \epsilon}{\nu_t + \epsilon}}\;g_t, \qquad
\delta_t = \rho\,\delta_{t-1} + (1 - \rho)\,d_t^2, \qquad W_t = W_{t-1} - \eta_t\,d_t.$$

Zeiler, "ADADELTA: an adaptive learning rate method", 2012, arXiv:1212.5701, where
$\eta = 1$. optax and PyTorch define it alike.
"""

from typing import NamedTuple

import chex
import jax.numpy as jnp

from funcnn.optim.leafwise._method import method
from funcnn.optim.precision._moments import Moments
from funcnn.optim.protocol._optimizer import Optimizer
from funcnn.optim.protocol._rates import LearningRate, hyperparameters


class AdadeltaState(NamedTuple):
    """Updates made so far, the mean squares of gradients and of steps, like params."""

    step: chex.Array
    nu: chex.ArrayTree
    delta: chex.ArrayTree


def adadelta(
    learning_rate: LearningRate = 1.0,
    decay: chex.Numeric = 0.9,
    eps: chex.Numeric = 1e-6,
    *,
    moments: Moments = None,
) -> Optimizer:
    r"""Step by the gradient, in units of the steps before over those of the gradients.

    Args:
        learning_rate: $\eta$, a scalar or a schedule, as in `sgd`.
        decay: $\rho$ in [0, 1).
        eps: $\epsilon$, at least 0, without which nothing ever moves.
        moments: what to store $\nu$ and $\delta$ as, as in `adam`.

    Returns:
        An `Optimizer`; dtypes are as in `sgd`.

    Raises:
        TypeError: if a hyperparameter is no number, or a leaf is not floating-point.
        ValueError: if a hyperparameter lies outside its range, or gradients do not match
            the params.
    """
    hyperparameters("adadelta", decay=decay, eps=eps)

    def rule(g, nu, delta, rho, a, eps):
        nu = rho * nu + a * (g * g)
        d = jnp.sqrt((delta + eps) / (nu + eps)) * g
        return d, nu, rho * delta + a * (d * d)

    def scalars(t):
        return decay, 1 - decay, eps

    return method("adadelta", AdadeltaState, rule, scalars, learning_rate, moments=moments)
