r"""LARS: momentum with layerwise learning rates, for large batches.

With gradient $g_t$, a leaf's weights $W$ and $d_t = g_t + \lambda W_{t-1}$, from $b_0 = 0$,

$$b_t = \beta\,b_{t-1} + \eta_t\,c\,
\frac{\lVert W_{t-1} \rVert}{\lVert d_t \rVert + \epsilon}\,d_t, \qquad
W_t = W_{t-1} - b_t,$$

where a ratio with a norm of 0 is $1 / c$.

You, Gitman & Ginsburg, "Large batch training of convolutional networks", 2017,
arXiv:1708.03888.

**Conventions.** As in optax, the ratio divides by the norm of $g + \lambda W$; the paper by
$\lVert g \rVert + \lambda \lVert W \rVert$. As in both, the learning rate is inside of the
momentum, unlike in `sgd`.
"""

import math
from typing import NamedTuple

import chex

from funcnn.optim.leafwise._method import method
from funcnn.optim.leafwise._rule import Decay
from funcnn.optim.precision._moments import Moments
from funcnn.optim.protocol._masks import Mask
from funcnn.optim.protocol._optimizer import Optimizer
from funcnn.optim.protocol._rates import LearningRate, hyperparameter, hyperparameters
from funcnn.optim.transformations._trust_ratio import WHY, trusted


class LarsState(NamedTuple):
    """Updates made so far, and the momentum b like params."""

    step: chex.Array
    momentum: chex.ArrayTree


def lars(
    learning_rate: LearningRate,
    momentum: chex.Numeric = 0.9,
    weight_decay: chex.Numeric = 0.0,
    coefficient: chex.Numeric = 1e-3,
    eps: chex.Numeric = 0.0,
    nesterov: bool = False,
    *,
    mask: Mask = None,
    moments: Moments = None,
) -> Optimizer:
    r"""Momentum, each leaf's steps in proportion to the norm of its weights.

    A stack of layers is one leaf, with one norm: see `per_layer`.

    Args:
        learning_rate: $\eta$, a scalar or a schedule, as in `sgd`.
        momentum: $\beta$ in [0, 1).
        weight_decay: $\lambda$, at least 0.
        coefficient: $c$, at least 0.
        eps: $\epsilon$, at least 0.
        nesterov: whether the momentum looks ahead: the step is $d + \beta b$ then, with $d$
            the term that $b$ has got.
        mask: which leaves decay, as in `adamw`. Those that are to have `sgd`'s steps, as
            biases and norms often are, are for `partition`.
        moments: what to store the momentum as, as in `adam`.

    Returns:
        An `Optimizer` whose `update` needs params; dtypes are as in `sgd`.

    Raises:
        TypeError: if a hyperparameter is no number, or a leaf is not floating-point.
        ValueError: if a hyperparameter lies outside its range, `update` gets no params,
            or gradients do not match the params.
    """
    hyperparameters("lars", momentum=momentum, eps=eps)
    hyperparameter("lars", "coefficient", coefficient, below=math.inf)

    def rule(g, b, beta, coefficient, eps, *, w, decay, rate):
        d = rate * trusted(g + decay * w, w, coefficient, eps)
        b = beta * b + d
        return (d + beta * b if nesterov else b), b

    def scalars(t):
        return momentum, coefficient, eps

    return method(
        "lars",
        LarsState,
        rule,
        scalars,
        learning_rate,
        why=WHY,
        decay=Decay(weight_decay, mask),
        moments=moments,
    )
