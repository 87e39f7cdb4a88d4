r"""NAdam: Adam with Nesterov's momentum.

With Adam's moments $\mu_t$ and $\nu_t$,

$$\bar\mu_t = \frac{\beta_1 \mu_t}{1 - \beta_1^{t+1}} +
\frac{(1 - \beta_1)\,g_t}{1 - \beta_1^t}, \qquad
W_t = W_{t-1} - \eta_t\,\frac{\bar\mu_t}{\sqrt{\hat\nu_t} + \epsilon}.$$

Dozat, "Incorporating Nesterov momentum into Adam", 2016.

**Conventions.** As in optax, $\beta_1$ is constant. PyTorch, and the paper's algorithm,
raise it from step to step. Weights may decay as AdamW's do, by $-\eta_t \lambda W_{t-1}$,
which is NAdamW.
"""

import chex
import jax.numpy as jnp

from funcnn.optim.leafwise._means import adam_means, debias, means
from funcnn.optim.leafwise._method import method
from funcnn.optim.leafwise._rule import decoupled
from funcnn.optim.methods._adam import AdamState
from funcnn.optim.precision._moments import Moments
from funcnn.optim.protocol._masks import Mask
from funcnn.optim.protocol._optimizer import Optimizer
from funcnn.optim.protocol._rates import LearningRate, hyperparameters


def nadam(
    learning_rate: LearningRate,
    b1: chex.Numeric = 0.9,
    b2: chex.Numeric = 0.999,
    eps: chex.Numeric = 1e-8,
    *,
    weight_decay: chex.Numeric = 0.0,
    mask: Mask = None,
    moments: Moments = None,
) -> Optimizer:
    r"""Adam whose first moment looks one step ahead.

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
    hyperparameters("nadam", b1=b1, b2=b2, eps=eps)

    def rule(g, mu, nu, b1, a1, b2, a2, ahead, now, c2, eps, *, keep):
        mu, nu = keep(*adam_means(g, mu, nu, b1, a1, b2, a2))
        return (ahead * mu + now * g) / (jnp.sqrt(c2 * nu) + eps), mu, nu

    def scalars(t):
        (c1, c2), (next_c1,) = debias(t, b1, b2), debias(t + 1, b1)
        return *means(b1, b2), b1 * next_c1, (1 - b1) * c1, c2, eps

    decay = decoupled(weight_decay, mask)
    return method(
        "nadam", AdamState, rule, scalars, learning_rate, decay=decay, moments=moments
    )
