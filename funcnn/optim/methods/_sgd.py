r"""Stochastic gradient descent, with momentum.

With gradient $g_t$, learning rate $\eta_t$ and momentum $\beta$, from $b_0 = 0$,

$$b_t = \beta\,b_{t-1} + g_t, \qquad W_t = W_{t-1} - \eta_t\,b_t,$$

and with Nesterov's momentum, which looks one step ahead,
$W_t = W_{t-1} - \eta_t\,(g_t + \beta\,b_t)$.

Polyak, "Some methods of speeding up the convergence of iteration methods", 1964;
Sutskever, Martens, Dahl & Hinton, "On the importance of initialization and momentum in
deep learning", 2013, for Nesterov's in this form.
"""

import chex

from funcnn.optim.leafwise._method import method
from funcnn.optim.precision._moments import Moments
from funcnn.optim.protocol._optimizer import Optimizer
from funcnn.optim.protocol._rates import LearningRate, hyperparameter
from funcnn.optim.transformations._trace import SgdState, running_sum


def sgd(
    learning_rate: LearningRate,
    momentum: chex.Numeric = 0.0,
    nesterov: bool = False,
    *,
    moments: Moments = None,
) -> Optimizer:
    r"""Step against the gradient, or against a running sum of gradients.

    $b \leftarrow \beta b + g$ and the update is $-\eta b$; with `nesterov` it is
    $-\eta\,(g + \beta b)$. PyTorch and optax define momentum alike.

    Args:
        learning_rate: $\eta$, at least 0; a scalar, which may be traced, or a schedule
            `step -> scalar`, where the first update is step 0.
        momentum: $\beta$ in [0, 1). A Python 0.0 keeps no momentum in the state; an
            array, which may be traced, always does.
        nesterov: whether to look ahead.
        moments: what to store the momentum as: a dtype, `Int8()`, or None for the
            params' dtypes.

    Returns:
        An `Optimizer` for any pytree of floating-point arrays. Updates have the
        gradients' dtypes; arithmetic is in at least float32.

    Raises:
        TypeError: if a hyperparameter is no number or, in `init` and `update`, a leaf
            is not floating-point.
        ValueError: if a hyperparameter lies outside its range, `nesterov` has no
            momentum, or gradients do not match the params in structure and shapes.
    """
    hyperparameter("sgd", "momentum", momentum, below=1)
    plain = isinstance(momentum, int | float) and momentum == 0
    if nesterov and plain:
        raise ValueError(f"sgd needs a momentum for nesterov; got momentum {momentum}.")
    if plain:
        return method(
            "sgd", SgdState, lambda g: (g,), learning_rate=learning_rate, slots=()
        )

    return method(
        "sgd",
        SgdState,
        running_sum(nesterov),
        lambda t: (momentum,),
        learning_rate,
        moments=moments,
    )
