r"""AMSGrad: Adam whose denominator never falls.

With Adam's debiased moments $\hat\mu_t$ and $\hat\nu_t$, from $\check\nu_0 = 0$,

$$\check\nu_t = \max(\check\nu_{t-1}, \hat\nu_t), \qquad
W_t = W_{t-1} - \eta_t\,\frac{\hat\mu_t}{\sqrt{\check\nu_t} + \epsilon}.$$

Reddi, Kale & Kumar, "On the convergence of Adam and beyond", 2018, arXiv:1904.09237.

**Conventions.** As in optax, the largest $\hat\nu$ is kept, debiased; PyTorch keeps the
largest $\nu$ and debiases it afterwards, which makes the first steps longer. Weights may
decay as AdamW's do, by $-\eta_t \lambda W_{t-1}$.
"""

from typing import NamedTuple

import chex
import jax.numpy as jnp

from funcnn.optim.leafwise._means import adam_means, debias, means
from funcnn.optim.leafwise._method import method
from funcnn.optim.leafwise._rule import decoupled
from funcnn.optim.precision._moments import Moments
from funcnn.optim.protocol._masks import Mask
from funcnn.optim.protocol._optimizer import Optimizer
from funcnn.optim.protocol._rates import LearningRate, hyperparameters


class AmsgradState(NamedTuple):
    """Updates made so far, the two moments and the largest second one, like params."""

    step: chex.Array
    mu: chex.ArrayTree
    nu: chex.ArrayTree
    largest: chex.ArrayTree


def amsgrad(
    learning_rate: LearningRate,
    b1: chex.Numeric = 0.9,
    b2: chex.Numeric = 0.999,
    eps: chex.Numeric = 1e-8,
    *,
    weight_decay: chex.Numeric = 0.0,
    mask: Mask = None,
    moments: Moments = None,
) -> Optimizer:
    r"""Adam, divided by the largest second moment so far.

    Args:
        learning_rate: $\eta$, a scalar or a schedule, as in `sgd`.
        b1: decay of the first moment, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        eps: $\epsilon$, at least 0.
        weight_decay: $\lambda$, at least 0, as in `adamw`; a Python 0.0 needs no params.
        mask: which leaves decay, as in `adamw`.
        moments: what to store the moments as, as in `adam`.

    Returns:
        An `Optimizer`; dtypes are as in `adam`.

    Raises:
        TypeError: if a hyperparameter is no number, or a leaf is not floating-point.
        ValueError: if a hyperparameter lies outside its range, gradients do not match the
            params, or `update` gets none and weights decay.
    """
    hyperparameters("amsgrad", b1=b1, b2=b2, eps=eps)

    def rule(g, mu, nu, largest, b1, a1, b2, a2, c1, c2, eps, *, keep):
        mu, nu = adam_means(g, mu, nu, b1, a1, b2, a2)
        largest = jnp.maximum(largest, c2 * nu)
        mu, nu, largest = keep(mu, nu, largest)
        return c1 * mu / (jnp.sqrt(largest) + eps), mu, nu, largest

    def scalars(t):
        return *means(b1, b2), *debias(t, b1, b2), eps

    decay = decoupled(weight_decay, mask)
    return method(
        "amsgrad", AmsgradState, rule, scalars, learning_rate, decay=decay, moments=moments
    )
