r"""Adagrad: gradients divided by the root of the sum of all squares so far.

With gradient $g_t$ and learning rate $\eta_t$,

$$s_t = s_{t-1} + g_t^2, \qquad W_t = W_{t-1} - \eta_t\,\frac{g_t}{\sqrt{s_t + \epsilon}}.$$

Duchi, Hazan & Singer, "Adaptive subgradient methods for online learning and stochastic
optimization", 2011.

**Conventions.** As in optax, $s_0$ is 0.1 and $\epsilon$ inside of the root; PyTorch starts
at 0 and has $\sqrt{s_t} + \epsilon$. An element whose sum is 0 does not move.
"""

import math
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from funcnn.optim.leafwise._method import method
from funcnn.optim.precision._moments import Moments
from funcnn.optim.protocol._optimizer import Optimizer
from funcnn.optim.protocol._rates import LearningRate, hyperparameter, hyperparameters


class AdagradState(NamedTuple):
    """Updates made so far, and the sum of squares like params."""

    step: chex.Array
    total: chex.ArrayTree


def adagrad(
    learning_rate: LearningRate,
    initial: chex.Numeric = 0.1,
    eps: chex.Numeric = 1e-7,
    *,
    moments: Moments = None,
) -> Optimizer:
    r"""Step by the gradient over the root of its sum of squares.

    The update is $-\eta\,g / \sqrt{s + \epsilon}$ (Duchi, Hazan & Singer, 2011).

    Args:
        learning_rate: $\eta$, a scalar or a schedule, as in `sgd`.
        initial: $s_0$, at least 0.
        eps: $\epsilon$, at least 0.
        moments: what to store $s$ as, as in `adam`.

    Returns:
        An `Optimizer`; dtypes are as in `sgd`.

    Raises:
        TypeError: if a hyperparameter is no number, or a leaf is not floating-point.
        ValueError: if a hyperparameter lies outside its range, or gradients do not match
            the params.
    """
    hyperparameter("adagrad", "initial", initial, below=math.inf)
    hyperparameters("adagrad", eps=eps)

    def start(w):
        return (jnp.full_like(w, initial, dtype=w.dtype),)

    def rule(g, total, eps, *, keep):
        (total,) = keep(total + g * g)
        moved = total > 0
        return jnp.where(
            moved, g * jax.lax.rsqrt(jnp.where(moved, total, 1) + eps), 0
        ), total

    return method(
        "adagrad",
        AdagradState,
        rule,
        lambda t: (eps,),
        learning_rate,
        start=start,
        moments=moments,
    )
