r"""RAdam: Adam that trusts its second moment once it has seen enough.

With Adam's debiased moments, $\rho_\infty = \frac{2}{1 - \beta_2} - 1$ and

$$\rho_t = \rho_\infty - \frac{2 t \beta_2^t}{1 - \beta_2^t}, \qquad
r_t = \sqrt{\frac{(\rho_t - 4)(\rho_t - 2)\,\rho_\infty}
{(\rho_\infty - 4)(\rho_\infty - 2)\,\rho_t}},$$

$$W_t = W_{t-1} - \eta_t \begin{cases}
r_t\,\hat\mu_t / (\sqrt{\hat\nu_t} + \epsilon) & \rho_t \ge 5 \\
\hat\mu_t & \text{else.} \end{cases}$$

Liu et al., "On the variance of the adaptive learning rate and beyond", 2020,
arXiv:1908.03265.

**Conventions.** As in optax; the paper and PyTorch divide by $\sqrt{\nu_t} + \epsilon$
before they debias, and the paper does so from $\rho_t > 4$ on. Weights may decay as
AdamW's do, by $-\eta_t \lambda W_{t-1}$.

**Hard points.** $\rho_t$ is a small difference of large numbers while $t$ is small: with
$1 - \beta_2^t$ taken from ${\rm expm1}$, as in `adam`, what is lost is a factor of
$\rho_\infty$ in rounding, 2000 for $\beta_2 = 0.999$, and not its square. For the first
steps, five for $\beta_2 = 0.999$, nothing divides the mean: where gradients are large at
first, clip them.
"""

import math

import chex
import jax
import jax.numpy as jnp

from funcnn.optim.leafwise._means import adam_means, debias, means, one_minus_power
from funcnn.optim.leafwise._method import method
from funcnn.optim.leafwise._rule import decoupled
from funcnn.optim.methods._adam import AdamState
from funcnn.optim.precision._moments import Moments
from funcnn.optim.protocol._masks import Mask
from funcnn.optim.protocol._optimizer import Optimizer
from funcnn.optim.protocol._rates import LearningRate, hyperparameter, hyperparameters


def radam(
    learning_rate: LearningRate,
    b1: chex.Numeric = 0.9,
    b2: chex.Numeric = 0.999,
    eps: chex.Numeric = 1e-8,
    threshold: chex.Numeric = 5.0,
    *,
    weight_decay: chex.Numeric = 0.0,
    mask: Mask = None,
    moments: Moments = None,
) -> Optimizer:
    r"""Adam, with steps rectified while the second moment is uncertain.

    Args:
        learning_rate: $\eta$, a scalar or a schedule, as in `sgd`.
        b1: decay of the first moment, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        eps: $\epsilon$, at least 0.
        threshold: the $\rho_t$, at least 4, from which on the second moment is used.
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
    hyperparameters("radam", b1=b1, b2=b2, eps=eps)
    hyperparameter("radam", "threshold", threshold, below=math.inf, least=4)

    def rule(g, mu, nu, b1, a1, b2, a2, c1, c2, factor, known, eps, *, keep):
        mu, nu = keep(*adam_means(g, mu, nu, b1, a1, b2, a2))
        plain = c1 * mu
        adapted = factor * plain / (jnp.sqrt(c2 * nu) + eps)
        return jnp.where(known > 0, adapted, plain), mu, nu

    def scalars(t):
        factor, known = rectification(b2, t, threshold)
        return *means(b1, b2), *debias(t, b1, b2), factor, known, eps

    decay = decoupled(weight_decay, mask)
    return method(
        "radam", AdamState, rule, scalars, learning_rate, decay=decay, moments=moments
    )


def rectification(b2, t, threshold):
    """r_t, and whether rho_t is at least the threshold, as a 1 or a 0."""
    missing = one_minus_power(b2, t)
    count = t.astype(missing.dtype)
    final = jnp.asarray(2 / (1 - b2) - 1, missing.dtype)
    rho = final - 2 * count * (1 - missing) / missing
    threshold = jnp.asarray(threshold, rho.dtype)
    known = rho >= threshold
    safe = jnp.where(known, rho, threshold)
    square = (safe - 4) * (safe - 2) * final / ((final - 4) * (final - 2) * safe)
    return jax.lax.sqrt(jnp.where(known, square, 1)), known.astype(missing.dtype)
