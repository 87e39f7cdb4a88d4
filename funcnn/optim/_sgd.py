r"""Stochastic gradient descent, with momentum.

With gradient $g_t$, learning rate $\eta_t$ and momentum $\beta$, from $b_0 = 0$,

$$b_t = \beta\,b_{t-1} + g_t, \qquad W_t = W_{t-1} - \eta_t\,b_t,$$

and with Nesterov's momentum, which looks one step ahead,
$W_t = W_{t-1} - \eta_t\,(g_t + \beta\,b_t)$.

Polyak, "Some methods of speeding up the convergence of iteration methods", 1964;
Sutskever, Martens, Dahl & Hinton, "On the importance of initialization and momentum in
deep learning", 2013, for Nesterov's in this form.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from funcnn.optim._optimizer import Optimizer
from funcnn.optim._rates import (
    LearningRate,
    check_learning_rate,
    hyperparameter,
    learning_rate_at,
)
from funcnn.optim._trees import float_leaves, leafwise, match, zeros


class SgdState(NamedTuple):
    """Updates made so far, and the momentum b like params (None without one)."""

    step: jax.Array
    momentum: Any


def sgd(
    learning_rate: LearningRate, momentum: ArrayLike = 0.0, nesterov: bool = False
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

    Returns:
        An `Optimizer` for any pytree of floating-point arrays. The momentum has the
        params' dtypes, updates have the gradients'; arithmetic is in at least float32.

    Raises:
        TypeError: if a hyperparameter is no number or, in `init` and `update`, a leaf
            is not floating-point.
        ValueError: if a hyperparameter lies outside its range, `nesterov` has no
            momentum, or gradients do not match the params in structure and shapes.
    """
    check_learning_rate("sgd", learning_rate)
    hyperparameter("sgd", "momentum", momentum, below=1)
    plain = isinstance(momentum, int | float) and momentum == 0
    if nesterov and plain:
        raise ValueError(f"sgd needs a momentum for nesterov; got momentum {momentum}.")

    def init(params):
        params = float_leaves("sgd", "params", params)
        return SgdState(
            step=jnp.zeros((), jnp.int32),
            momentum=None if plain else zeros(params),
        )

    def update(grads, state, params=None):
        grads = float_leaves("sgd", "gradients", grads)
        if params is not None:
            match("sgd", "gradients", grads, params)
        rate = learning_rate_at("sgd", learning_rate, state.step)
        if plain:
            updates = leafwise(lambda g, eta: -eta * g, (grads,), rate)
            return updates, SgdState(state.step + 1, None)
        match("sgd", "gradients", grads, state.momentum, "the momentum in its state")
        b = leafwise(accumulate, (state.momentum, grads), momentum)
        step = ahead if nesterov else along
        updates = leafwise(step, (grads, b), rate, momentum)
        return updates, SgdState(state.step + 1, b)

    return Optimizer(init, update)


def accumulate(b, g, beta):
    """The running sum of gradients."""
    return beta * b + g


def along(g, b, eta, beta):
    """Classical momentum's update; `g` gives it its dtype."""
    del g, beta
    return -eta * b


def ahead(g, b, eta, beta):
    """Nesterov's update."""
    return -eta * (g + beta * b)
