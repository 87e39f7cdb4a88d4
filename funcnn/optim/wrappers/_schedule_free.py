r"""An optimizer in, one out that averages weights in place of a schedule.

Any optimizer moves $z$; gradients are taken at $y$, and $x$, which is to be used, is an
average of all $z$. From $x_0 = y_0 = z_0$, with $w_t = (\max_{s \le t} \eta_s)^p$,

$$z_t = z_{t-1} + u_t, \qquad
c_t = \frac{w_t}{\sum_{s \le t} w_s}, \qquad
x_t = (1 - c_t)\,x_{t-1} + c_t z_t, \qquad
y_t = \beta x_t + (1 - \beta)\,z_t,$$

where $u_t$ is the optimizer's update for the gradient at $y_{t-1}$.

Defazio et al., "The road less scheduled", 2024, arXiv:2405.15682. The params that are
trained are $y$; $z$ is in the state, and `schedule_free_params` returns $x$. optax does
alike, but asks a schedule for the rate of step 1 where the optimizer, here and there,
asks for that of step 0.
"""

import math
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from funcnn.optim.protocol._leaves import leafwise, wide_copy
from funcnn.optim.protocol._optimizer import Optimizer, extended
from funcnn.optim.protocol._rates import (
    LearningRate,
    check_learning_rate,
    hyperparameter,
    learning_rate_at,
    tells,
)
from funcnn.optim.protocol._trees import check_own, float_leaves, match, need_params

NAME = "schedule_free"


class ScheduleFreeState(NamedTuple):
    """Updates so far, beta, largest rate, sum of weights, z, the optimizer's state."""

    step: chex.Array
    beta: chex.Array
    largest: chex.Array
    total: chex.Array
    z: chex.ArrayTree
    inner: chex.ArrayTree


def schedule_free(
    optimizer: Optimizer,
    learning_rate: LearningRate,
    beta: chex.Numeric = 0.9,
    power: chex.Numeric = 2.0,
) -> Optimizer:
    r"""Train with an average of the weights in place of a schedule.

    Args:
        optimizer: ours or optax's; without momentum of its own, as $\beta$ is that: `sgd`,
            `rmsprop`, or `adam` with `b1=0`.
        learning_rate: $\eta$, the optimizer's own, for the weights of the average. A
            schedule should do no more than warm up.
        beta: $\beta$ in (0, 1): how near to the average gradients are taken.
        power: $p$, at least 0.

    Returns:
        An `Optimizer` whose `update` needs params. Its $z$ has at least float32.

    Raises:
        TypeError: if `optimizer` has no `init` and `update`, a hyperparameter is no
            number, or a leaf is not floating-point.
        ValueError: if a hyperparameter lies outside its range, `update` gets no params,
            or gradients do not match the params.
    """
    step_of = extended(NAME, optimizer)
    check_learning_rate(NAME, learning_rate)
    hyperparameter(NAME, "beta", beta, below=1)
    hyperparameter(NAME, "power", power, below=math.inf)
    if isinstance(beta, int | float) and beta == 0:
        raise ValueError(f"{NAME} needs beta above 0; got {beta}.")

    def init(params):
        params = float_leaves(NAME, "params", params)
        kind = jnp.result_type(float)
        step, start = jnp.zeros((), jnp.int32), jnp.asarray(beta, kind)
        largest, total = jnp.zeros((), kind), jnp.zeros((), kind)  # two, to donate
        z, inner = wide_copy(NAME, params), optimizer.init(params)
        return ScheduleFreeState(step, start, largest, total, z, inner)

    def update(grads, state, params=None, **extra):
        check_own(NAME, state, ScheduleFreeState)
        need_params(NAME, params, "its state holds but z")
        match(NAME, "gradients", grads, params)
        match(NAME, "gradients", grads, state.z, "the z in its state")
        rate = learning_rate_at(NAME, learning_rate, state.step)
        largest = jnp.maximum(state.largest, jnp.asarray(rate, state.largest.dtype))
        weight = largest ** jnp.asarray(power, largest.dtype)
        total = state.total + weight
        c = jnp.where(total == 0, 0, weight / jnp.where(total == 0, 1, total))
        moves, inner = step_of(grads, state.inner, params, **extra)
        z = leafwise(lambda z, u: z + u, (state.z, moves))
        trees = params, state.z, z
        updates = leafwise(
            change, (jax.tree.map(jnp.asarray, moves), *trees), c, state.beta
        )
        state = ScheduleFreeState(state.step + 1, state.beta, largest, total, z, inner)
        return updates, state

    def rate_of(state):
        return learning_rate_at(NAME, learning_rate, state.step)

    return Optimizer(init, tells(update, rate_of))


def schedule_free_params(
    state: ScheduleFreeState, params: chex.ArrayTree
) -> chex.ArrayTree:
    r"""The average $x$, which is what to evaluate and to keep.

    Args:
        state: of `schedule_free`.
        params: those that are trained, $y$.

    Returns:
        A pytree like params.

    Raises:
        ValueError: if the state is none of `schedule_free`, or of other params.
    """
    if not isinstance(state, ScheduleFreeState):
        raise ValueError(
            "schedule_free_params needs the state of schedule_free; "
            f"got {type(state).__name__}."
        )
    match("schedule_free_params", "params", params, state.z, "the z in its state")
    params = jax.tree.map(jnp.asarray, params)
    return leafwise(average, (params, state.z), state.beta)


def average(y, z, beta):
    """One leaf of x, as y lies between x and z."""
    return (y - (1 - beta) * z) / beta


def change(u, y, old_z, z, c, beta):
    """The update of one leaf of y; `u` gives it its dtype."""
    del u
    x = (1 - c) * average(y, old_z, beta) + c * z
    return beta * x + (1 - beta) * z - y
