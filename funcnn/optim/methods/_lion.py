r"""Lion: steps of one size, along the sign of a mean.

With gradient $g_t$ and learning rate $\eta_t$, from $\mu_0 = 0$,

$$W_t = W_{t-1} - \eta_t \left( {\rm sign}(\beta_1 \mu_{t-1} + (1 - \beta_1)\,g_t)
+ \lambda W_{t-1} \right), \qquad \mu_t = \beta_2 \mu_{t-1} + (1 - \beta_2)\,g_t.$$

Chen et al., "Symbolic discovery of optimization algorithms", 2023, arXiv:2302.06675.
Defaults are optax's.
"""

from typing import NamedTuple

import chex
import jax.numpy as jnp

from funcnn.optim.leafwise._method import method
from funcnn.optim.leafwise._rule import UNSCALED, Decay
from funcnn.optim.precision._moments import Moments
from funcnn.optim.protocol._masks import Mask
from funcnn.optim.protocol._optimizer import Optimizer
from funcnn.optim.protocol._rates import LearningRate, hyperparameters


class LionState(NamedTuple):
    """Updates made so far, and the mean of gradients like params."""

    step: chex.Array
    mu: chex.ArrayTree


def lion(
    learning_rate: LearningRate,
    b1: chex.Numeric = 0.9,
    b2: chex.Numeric = 0.99,
    weight_decay: chex.Numeric = 1e-3,
    *,
    mask: Mask = None,
    moments: Moments = None,
) -> Optimizer:
    r"""Step by the sign of a mean of gradients, with weights that decay.

    As every element moves by $\eta$, learning rates are some 3 to 10 times less than
    `adamw`'s, and weight decay is as much more.

    Args:
        learning_rate: $\eta$, a scalar or a schedule, as in `sgd`.
        b1: weight of the mean in the direction, in [0, 1).
        b2: decay of the mean, in [0, 1).
        weight_decay: $\lambda$, at least 0.
        mask: which leaves decay, as in `adamw`.
        moments: what to store the mean as, as in `adam`.

    Returns:
        An `Optimizer` whose `update` needs params; dtypes are as in `adam`.

    Raises:
        TypeError: if a hyperparameter is no number, or a leaf is not floating-point.
        ValueError: if a hyperparameter lies outside its range, `update` gets no params,
            or gradients do not match the params.
    """
    decay = Decay(weight_decay, mask)
    return build("lion", learning_rate, b1, b2, decay=decay, moments=moments)


def scale_by_lion(
    b1: chex.Numeric = 0.9, b2: chex.Numeric = 0.99, *, moments: Moments = None
) -> Optimizer:
    """Lion's direction, a sign, for use in a chain.

    Args, dtypes and errors are those of `lion`.
    """
    return build("scale_by_lion", UNSCALED, b1, b2, moments=moments)


def build(name, learning_rate, b1, b2, **more):
    """Lion or its direction; errors speak of `name`."""
    hyperparameters(name, b1=b1, b2=b2)

    # The direction of the new mean, so that nothing needs the old one when it is written.
    ahead = isinstance(b1, int | float) and isinstance(b2, int | float)
    ahead = ahead and b2 >= max(b1, 0.5)  # else digits could be lost

    def rule(g, mu, b1, a1, b2, a2, *, keep):
        before = mu
        (mu,) = keep(b2 * mu + a2 * g)
        return jnp.sign(b1 * (mu if ahead else before) + a1 * g), mu

    def scalars(t):
        if ahead:  # as b1 / b2 of the new mean has b1 of the old one in it
            return b1 / b2, 1 - b1 - b1 / b2 * (1 - b2), b2, 1 - b2
        return b1, 1 - b1, b2, 1 - b2

    return method(name, LionState, rule, scalars, learning_rate, **more)
