r"""Sophia: steps by curvature, clipped.

With gradient $g_t$, from $\mu_0 = h_0 = 0$, an estimate $\hat h_t$ of the Hessian's
diagonal in every $k$-th update, the first included, and elementwise clipping to
$[-\rho, \rho]$,

$$\mu_t = \beta_1 \mu_{t-1} + (1 - \beta_1)\,g_t, \qquad
h_t = \beta_2 h_{t-1} + (1 - \beta_2)\,\hat h_t, \qquad
W_t = W_{t-1} - \eta_t \left( {\rm clip}\!\left(
\frac{\hat\mu_t}{\max(\gamma\,h_t, \epsilon)} \right) + \lambda W_{t-1} \right).$$

Liu et al., "Sophia: a scalable stochastic second-order optimizer for language model
pre-training", 2024, arXiv:2305.14342, algorithm 3.

**Conventions.** As in optax, $\mu$ is debiased, which the paper does not do. As in the
paper, an estimate serves the update it is made in; optax uses it in the next.
"""

import math
from typing import NamedTuple, cast

import chex
import jax
import jax.numpy as jnp

from funcnn.foundation._checks import integer
from funcnn.optim.leafwise._means import debias
from funcnn.optim.leafwise._method import method
from funcnn.optim.leafwise._rule import Decay
from funcnn.optim.protocol._leaves import leafwise
from funcnn.optim.protocol._masks import Mask
from funcnn.optim.protocol._optimizer import Optimizer, extended
from funcnn.optim.protocol._rates import (
    LearningRate,
    hyperparameter,
    hyperparameters,
    tells,
    told_by,
)
from funcnn.optim.protocol._trees import check_own, match, need_params

WHY = "its curvature is that of the loss there"


class SophiaState(NamedTuple):
    """Updates made so far, mean and curvature like params, the estimator's own state."""

    step: chex.Array
    mu: chex.ArrayTree
    curvature: chex.ArrayTree
    estimator: chex.ArrayTree = ()


def sophia(
    learning_rate: LearningRate,
    estimator: Optimizer,
    b1: chex.Numeric = 0.965,
    b2: chex.Numeric = 0.99,
    eps: chex.Numeric = 1e-8,
    weight_decay: chex.Numeric = 1e-4,
    *,
    gamma: chex.Numeric = 0.01,
    clip: chex.Numeric = 1.0,
    every: int = 10,
    mask: Mask = None,
) -> Optimizer:
    r"""Step by the gradient's mean over the loss's curvature, clipped.

        optimizer = optim.sophia(1e-3, optim.hutchinson(jax.random.key(0)))
        opt_state = optimizer.init(params)
        at = lambda params: loss(params, (images, labels), None)
        grads = jax.grad(at)(params)
        updates, opt_state = optimizer.update(grads, opt_state, params, loss=at)

    Args:
        learning_rate: $\eta$, a scalar or a schedule, as in `sgd`.
        estimator: `hutchinson(key)`, or an optimizer whose updates are another estimate
            of the Hessian's diagonal.
        b1: decay of the mean, in [0, 1).
        b2: decay of the curvature, in [0, 1).
        eps: $\epsilon$, the least denominator, at least 0.
        weight_decay: $\lambda$, at least 0.
        gamma: $\gamma$, at least 0, what curvature counts.
        clip: $\rho$, at least 0, the largest element of a direction.
        every: $k$, how many updates share an estimate.
        mask: which leaves decay, as in `adamw`.

    Returns:
        An `Optimizer` whose `update` needs params, and `loss=f` with `f(params)` the
        scalar that gradients are of. Dtypes are as in `adam`.

    Raises:
        TypeError: if a hyperparameter is no number, a leaf is not floating-point, or
            `hutchinson` gets no loss.
        ValueError: if a hyperparameter lies outside its range, `update` gets no params,
            or gradients do not match the params.
    """
    hyperparameters("sophia", b1=b1, b2=b2, eps=eps)
    hyperparameter("sophia", "gamma", gamma, below=math.inf)
    hyperparameter("sophia", "clip", clip, below=math.inf)
    every = integer("sophia", "every", every, minimum=1)
    estimate = extended("sophia", estimator)

    def rule(g, mu, curvature, b1, a1, c1, gamma, eps, clip):
        mu = b1 * mu + a1 * g
        u = c1 * mu / jnp.maximum(gamma * curvature, eps)
        return jnp.clip(u, -clip, clip), mu, curvature

    def scalars(t):
        return b1, 1 - b1, *debias(t, b1), gamma, eps, clip

    inner = method(
        "sophia",
        SophiaState,
        rule,
        scalars,
        learning_rate,
        slots=("mu", "curvature"),
        decay=Decay(weight_decay, mask),
    )

    def measured(grads, state, params, **extra):
        """The curvature after another estimate, and the estimator's state."""
        found, after = estimate(grads, state.estimator, params, **extra)
        trees = state.curvature, found
        return leafwise(lambda h, f, b, a: b * h + a * f, trees, b2, 1 - b2), after

    def init(params):
        start = cast(SophiaState, inner.init(params))
        return start._replace(estimator=estimator.init(params))

    def update(grads, state, params=None, **extra):
        check_own("sophia", state, SophiaState)
        need_params("sophia", params, WHY)
        match("sophia", "gradients", grads, params)
        match("sophia", "gradients", grads, state.curvature, "the moments in its state")
        curvature, memory = jax.lax.cond(
            state.step % every == 0,
            lambda: measured(grads, state, params, **extra),
            lambda: (state.curvature, state.estimator),
        )
        state = state._replace(curvature=curvature)
        updates, state = inner.update(grads, state, params)
        return updates, state._replace(estimator=memory)

    return Optimizer(init, tells(update, told_by(inner)))
