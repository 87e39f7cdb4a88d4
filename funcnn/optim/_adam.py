r"""Adam, and AdamW, which decouples weight decay from the gradient's moments.

With gradient $g_t$ and learning rate $\eta_t$, from $\mu_0 = \nu_0 = 0$,

$$\mu_t = \beta_1 \mu_{t-1} + (1 - \beta_1)\,g_t, \qquad
\nu_t = \beta_2 \nu_{t-1} + (1 - \beta_2)\,g_t^2,$$

$$\hat\mu_t = \frac{\mu_t}{1 - \beta_1^t}, \qquad
\hat\nu_t = \frac{\nu_t}{1 - \beta_2^t}, \qquad
W_t = W_{t-1} - \eta_t \left( \frac{\hat\mu_t}{\sqrt{\hat\nu_t} + \epsilon}
+ \lambda W_{t-1} \right),$$

where $\lambda = 0$ is Adam (Kingma & Ba, 2015, arXiv:1412.6980) and $\lambda > 0$ is
AdamW (Loshchilov & Hutter, 2019, arXiv:1711.05101).

**Hard points.** $1 - \beta^t$ cancels for $\beta$ near 1 and small $t$: in float32,
$1 - 0.999$ has four digits left. We compute it as $-{\rm expm1}(t \log \beta)$. The
moments have the params' dtypes. In bfloat16, whose numbers are 0.4% apart, $\nu$ cannot
follow a $\beta_2$ of 0.999, and in float16 it is 0 for gradients below 5e-3, which then
are divided by $\epsilon$: keep the params in float32 there.
"""

import math
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
from funcnn.optim._trees import float_leaves, leafwise, match, need_params, zeros


class AdamState(NamedTuple):
    """Updates made so far, and the two moments, each like params."""

    step: jax.Array
    mu: Any
    nu: Any


def adam(
    learning_rate: LearningRate,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
) -> Optimizer:
    r"""Step by the gradient's running mean over its running root mean square.

    The update is $-\eta\,\hat\mu / (\sqrt{\hat\nu} + \epsilon)$, with $\hat\mu$ and
    $\hat\nu$ the debiased running means of $g$ and $g^2$ (Kingma & Ba, 2015,
    arXiv:1412.6980).

    Args:
        learning_rate: $\eta$, at least 0; a scalar, which may be traced, or a schedule
            `step -> scalar`, where the first update is step 0.
        b1: decay of the first moment, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        eps: at least 0; with 0, a gradient that was always 0 gives NaN.

    Returns:
        An `Optimizer` for any pytree of floating-point arrays. The moments have the
        params' dtypes, updates have the gradients'; arithmetic is in at least float32.

    Raises:
        TypeError: if a hyperparameter is no number or, in `init` and `update`, a leaf
            is not floating-point.
        ValueError: if a hyperparameter lies outside its range, or gradients do not
            match the params in structure and shapes.
    """
    return build("adam", learning_rate, b1, b2, eps, None)


def adamw(
    learning_rate: LearningRate,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
    weight_decay: ArrayLike = 1e-4,
) -> Optimizer:
    r"""Adam, with weights that decay by a rate of their own.

    The update is $-\eta\,(\hat\mu / (\sqrt{\hat\nu} + \epsilon) + \lambda W)$
    (Loshchilov & Hutter, 2019, arXiv:1711.05101). For L2 regularisation instead, which
    passes through the moments, chain `add_decayed_weights` and `adam`.

    Args:
        learning_rate: $\eta$, at least 0; a scalar, which may be traced, or a schedule
            `step -> scalar`, where the first update is step 0.
        b1: decay of the first moment, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        eps: at least 0; with 0, a gradient that was always 0 gives NaN.
        weight_decay: $\lambda$, at least 0.

    Returns:
        An `Optimizer` for any pytree of floating-point arrays; its `update` needs
        params. Dtypes are as in `adam`.

    Raises:
        TypeError: if a hyperparameter is no number or, in `init` and `update`, a leaf
            is not floating-point.
        ValueError: if a hyperparameter lies outside its range, `update` gets no params,
            or gradients do not match the params in structure and shapes.
    """
    hyperparameter("adamw", "weight_decay", weight_decay, below=math.inf)
    return build("adamw", learning_rate, b1, b2, eps, weight_decay)


def build(name, learning_rate, b1, b2, eps, weight_decay):
    """Adam without weight decay (None) or AdamW; errors speak of `name`."""
    check_learning_rate(name, learning_rate)
    hyperparameter(name, "b1", b1, below=1)
    hyperparameter(name, "b2", b2, below=1)
    hyperparameter(name, "eps", eps, below=math.inf)

    def init(params):
        params = float_leaves(name, "params", params)
        return AdamState(jnp.zeros((), jnp.int32), zeros(params), zeros(params))

    def update(grads, state, params=None):
        grads = float_leaves(name, "gradients", grads)
        match(name, "gradients", grads, state.mu, "the moments in its state")
        if weight_decay is not None:
            need_params(name, params)
        if params is not None:
            match(name, "gradients", grads, params)
        rate = learning_rate_at(name, learning_rate, state.step)
        step = state.step + 1
        mu = leafwise(lambda m, g, b, a: b * m + a * g, (state.mu, grads), b1, 1 - b1)
        nu = leafwise(lambda v, g, b, a: b * v + a * g**2, (state.nu, grads), b2, 1 - b2)
        scalars = one_minus_power(b1, step), one_minus_power(b2, step), eps, rate
        if weight_decay is None:
            updates = leafwise(adam_step, (grads, mu, nu), *scalars)
        else:
            trees = grads, mu, nu, params
            updates = leafwise(adamw_step, trees, *scalars, weight_decay)
        return updates, AdamState(step, mu, nu)

    return Optimizer(init, update)


def adam_step(g, mu, nu, debias_mu, debias_nu, eps, rate):
    """The update of one leaf; `g` gives it its dtype."""
    del g
    return -rate * (mu / debias_mu) / (jnp.sqrt(nu / debias_nu) + eps)


def adamw_step(g, mu, nu, w, debias_mu, debias_nu, eps, rate, weight_decay):
    """The update of one leaf whose weights `w` decay."""
    return adam_step(g, mu, nu, debias_mu, debias_nu, eps, rate) - rate * weight_decay * w


def one_minus_power(b, t):
    """`1 - b**t` without cancellation, for t of at least 1."""
    t = t.astype(jnp.result_type(float))
    if isinstance(b, jax.Array):
        log = jnp.log(b.astype(t.dtype))
    else:  # in Python, so that log(0.999) has all of its digits in float32
        log = jnp.asarray(math.log(b) if b > 0 else -math.inf, t.dtype)
    return -jnp.expm1(t * log)
