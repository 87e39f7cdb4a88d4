r"""Adamax: Adam with the largest gradient of late in the denominator.

With gradient $g_t$ and learning rate $\eta_t$, from $\mu_0 = u_0 = 0$,

$$\mu_t = \beta_1 \mu_{t-1} + (1 - \beta_1)\,g_t, \qquad
u_t = \max(\beta_2 u_{t-1}, |g_t| + \epsilon), \qquad
W_t = W_{t-1} - \frac{\eta_t}{1 - \beta_1^t} \frac{\mu_t}{u_t}.$$

Kingma & Ba, "Adam: a method for stochastic optimization", 2015, arXiv:1412.6980, section
7.1. optax and PyTorch define it alike. Weights may decay as AdamW's do, by
$-\eta_t \lambda W_{t-1}$, which is optax's `adamaxw`.
"""

from typing import NamedTuple

import chex
import jax.numpy as jnp

from funcnn.optim.leafwise._means import debias
from funcnn.optim.leafwise._method import method
from funcnn.optim.leafwise._rule import decoupled
from funcnn.optim.precision._moments import Moments
from funcnn.optim.protocol._masks import Mask
from funcnn.optim.protocol._optimizer import Optimizer
from funcnn.optim.protocol._rates import LearningRate, hyperparameters


class AdamaxState(NamedTuple):
    """Updates made so far, the mean and the decaying largest magnitude, like params."""

    step: chex.Array
    mu: chex.ArrayTree
    largest: chex.ArrayTree


def adamax(
    learning_rate: LearningRate,
    b1: chex.Numeric = 0.9,
    b2: chex.Numeric = 0.999,
    eps: chex.Numeric = 1e-8,
    *,
    weight_decay: chex.Numeric = 0.0,
    mask: Mask = None,
    moments: Moments = None,
) -> Optimizer:
    r"""Step by the gradient's running mean over its largest magnitude of late.

    Args:
        learning_rate: $\eta$, a scalar or a schedule, as in `sgd`.
        b1: decay of the mean, in [0, 1).
        b2: decay of the largest magnitude, in [0, 1).
        eps: $\epsilon$, at least 0.
        weight_decay: $\lambda$, at least 0, as in `adamw`; a Python 0.0 needs no params.
        mask: which leaves decay, as in `adamw`.
        moments: what to store $\mu$ and $u$ as, as in `adam`.

    Returns:
        An `Optimizer`; dtypes are as in `adam`.

    Raises:
        TypeError: if a hyperparameter is no number, or a leaf is not floating-point.
        ValueError: if a hyperparameter lies outside its range, gradients do not match the
            params, or `update` gets none and weights decay.
    """
    hyperparameters("adamax", b1=b1, b2=b2, eps=eps)

    def rule(g, mu, largest, b1, a1, b2, c1, eps, *, keep):
        mu = b1 * mu + a1 * g
        largest = jnp.maximum(b2 * largest, jnp.abs(g) + eps)
        mu, largest = keep(mu, largest)
        return c1 * mu / largest, mu, largest

    def scalars(t):
        return b1, 1 - b1, b2, *debias(t, b1), eps

    decay = decoupled(weight_decay, mask)
    return method(
        "adamax", AdamaxState, rule, scalars, learning_rate, decay=decay, moments=moments
    )
