r"""RMSProp: gradients divided by their running root mean square.

With gradient $g_t$ and learning rate $\eta_t$, from $\nu_0 = m_0 = b_0 = 0$,

$$\nu_t = \rho\,\nu_{t-1} + (1 - \rho)\,g_t^2, \qquad
d_t = \frac{g_t}{\sqrt{\nu_t + \epsilon}}, \qquad
b_t = \beta\,b_{t-1} + d_t, \qquad W_t = W_{t-1} - \eta_t\,b_t.$$

Centred, the variance takes the place of the mean square: $\nu_t - m_t^2$ with
$m_t = \rho\,m_{t-1} + (1 - \rho)\,g_t$.

Tieleman & Hinton, "Lecture 6.5: RMSProp", 2012; Graves, "Generating sequences with
recurrent neural networks", 2013, arXiv:1308.0850, for the centred form.

**Conventions.** As in optax, $\epsilon$ is inside of the root, and $\rho$ is 0.9; PyTorch
has $\sqrt{\nu_t} + \epsilon$, which is `eps_in_sqrt=False`, and 0.99. The learning rate
multiplies $b$, as in `sgd` and PyTorch; optax adds $\eta_t d_t$ up, which is another thing
when $\eta$ changes. **Hard point.** Rounding may make $\nu - m^2$ negative: it is taken to
be at least 0.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from funcnn.optim.leafwise._method import method
from funcnn.optim.leafwise._rule import UNSCALED
from funcnn.optim.precision._moments import Moments
from funcnn.optim.protocol._optimizer import Optimizer
from funcnn.optim.protocol._rates import LearningRate, hyperparameters


class RmspropState(NamedTuple):
    """Updates so far; nu, the mean (None if not centred), the momentum (None without)."""

    step: chex.Array
    nu: chex.ArrayTree
    mean: chex.ArrayTree | None
    momentum: chex.ArrayTree | None


def rmsprop(
    learning_rate: LearningRate,
    decay: chex.Numeric = 0.9,
    eps: chex.Numeric = 1e-8,
    centered: bool = False,
    momentum: chex.Numeric = 0.0,
    nesterov: bool = False,
    *,
    eps_in_sqrt: bool = True,
    moments: Moments = None,
) -> Optimizer:
    r"""Step by the gradient over its running root mean square.

    The update is $-\eta\,g / \sqrt{\nu + \epsilon}$ (Tieleman & Hinton, 2012).

    Args:
        learning_rate: $\eta$, a scalar or a schedule, as in `sgd`.
        decay: $\rho$ in [0, 1).
        eps: $\epsilon$, at least 0.
        centered: whether to divide by the standard deviation instead.
        momentum: $\beta$ in [0, 1); a Python 0.0 keeps no momentum.
        nesterov: whether the momentum looks ahead.
        eps_in_sqrt: whether $\epsilon$ is added before the root is taken.
        moments: what to store $\nu$, $m$ and $b$ as, as in `adam`.

    Returns:
        An `Optimizer`; dtypes are as in `sgd`.

    Raises:
        TypeError: if a hyperparameter is no number, or a leaf is not floating-point.
        ValueError: if a hyperparameter lies outside its range, `nesterov` has no
            momentum, or gradients do not match the params.
    """
    more = momentum, nesterov, eps_in_sqrt, moments
    return build("rmsprop", learning_rate, decay, eps, centered, *more)


def scale_by_rms(
    decay: chex.Numeric = 0.9,
    eps: chex.Numeric = 1e-8,
    centered: bool = False,
    *,
    eps_in_sqrt: bool = True,
    moments: Moments = None,
) -> Optimizer:
    r"""RMSProp's direction, $g / \sqrt{\nu + \epsilon}$, for use in a chain.

    Args, dtypes and errors are those of `rmsprop`.
    """
    more = 0.0, False, eps_in_sqrt, moments
    return build("scale_by_rms", UNSCALED, decay, eps, centered, *more)


def build(
    name, learning_rate, decay, eps, centered, momentum, nesterov, eps_in_sqrt, moments
):
    """RMSProp, or its direction; errors speak of `name`."""
    hyperparameters(name, decay=decay, eps=eps, momentum=momentum)
    plain = isinstance(momentum, int | float) and momentum == 0
    if nesterov and plain:
        raise ValueError(f"{name} needs a momentum for nesterov; got momentum {momentum}.")
    slots = ["nu", *["mean"] * centered, *["momentum"] * (not plain)]

    def rule(g, *arrays, keep):
        *old, rho, a, eps, beta = arrays
        slots_of = dict(zip(slots, old, strict=True))
        new = [rho * slots_of["nu"] + a * (g * g)]
        if centered:
            new.append(rho * slots_of["mean"] + a * g)
        if plain:
            new = keep(*new)
        variance = jnp.maximum(new[0] - new[1] ** 2, 0) if centered else new[0]
        if eps_in_sqrt:
            d = g * jax.lax.rsqrt(variance + eps)
        else:
            d = g / (jnp.sqrt(variance) + eps)
        if not plain:
            new = keep(*new, beta * slots_of["momentum"] + d)
            d = d + beta * new[-1] if nesterov else new[-1]
        return d, *new

    def scalars(t):
        return decay, 1 - decay, eps, momentum

    return method(
        name,
        RmspropState,
        rule,
        scalars,
        learning_rate,
        slots=slots,
        moments=moments,
    )
