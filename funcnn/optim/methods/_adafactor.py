r"""Adafactor: a second moment of matrices that is kept as row and column means.

With gradient $g_t$ and $\beta_t = 1 - t^{-0.8}$, from $r_0 = c_0 = 0$, for a matrix

$$r_t = \beta_t r_{t-1} + (1 - \beta_t)\,{\rm mean}_{\rm columns}(g_t^2 + \epsilon), \qquad
c_t = \beta_t c_{t-1} + (1 - \beta_t)\,{\rm mean}_{\rm rows}(g_t^2 + \epsilon), \qquad
\nu_t = \frac{r_t\,c_t^{\sf T}}{{\rm mean}(r_t)},$$

and for other arrays $\nu_t$ itself, likewise. Then, with ${\rm rms}$ taken over a leaf,

$$u_t = \frac{g_t}{\sqrt{\nu_t}}, \qquad
\hat u_t = \frac{u_t}{\max(1, {\rm rms}(u_t) / d)}, \qquad
W_t = W_{t-1} - \eta_t \left( \max(\epsilon_2, {\rm rms}(W_{t-1}))\,\hat u_t
+ \lambda W_{t-1} \right).$$

Shazeer & Stern, "Adafactor: adaptive learning rates with sublinear memory cost", 2018,
arXiv:1804.04235. An array of more than two axes is factored over its two largest.

**Conventions.** optax's, but that weight decay is multiplied by the learning rate, as
everywhere here, and that $\beta_t$ is computed in full precision.
"""

import math
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from funcnn.foundation._checks import integer
from funcnn.foundation._dtypes import accumulator
from funcnn.optim.leafwise._method import method
from funcnn.optim.leafwise._rule import Decay
from funcnn.optim.protocol._masks import Mask
from funcnn.optim.protocol._optimizer import Optimizer
from funcnn.optim.protocol._rates import LearningRate, hyperparameter, hyperparameters
from funcnn.optim.transformations._clip_leaves import rms


class AdafactorState(NamedTuple):
    """Updates made so far; row means, or the whole second moment, and column means."""

    step: chex.Array
    row: chex.ArrayTree
    column: chex.ArrayTree


def adafactor(
    learning_rate: LearningRate,
    decay: chex.Numeric = 0.8,
    clip: chex.Numeric = 1.0,
    eps: chex.Numeric = 1e-30,
    weight_decay: chex.Numeric = 0.0,
    *,
    least_size: int = 128,
    relative: bool = True,
    mask: Mask = None,
) -> Optimizer:
    r"""Step by the gradient over a root mean square that takes little memory.

    A factored matrix of shape `(m, n)` costs `m + n` numbers of state. A stack of layers is
    one array, whose axes may not be those to factor, with one root mean square: see
    `per_layer`.

    Args:
        learning_rate: $\eta$, a scalar or a schedule, as in `sgd`.
        decay: the exponent in $\beta_t = 1 - t^{-0.8}$, in [0, 1).
        clip: $d$, the largest root mean square of a leaf's step.
        eps: $\epsilon$, at least 0.
        weight_decay: $\lambda$, at least 0.
        least_size: arrays whose second largest axis is less are not factored.
        relative: whether steps are in proportion to the weights; $\epsilon_2$ is 1e-3.
        mask: which leaves decay, as in `adamw`.

    Returns:
        An `Optimizer` whose `update` needs params. Its moments have at least float32;
        other dtypes are as in `adam`.

    Raises:
        TypeError: if a hyperparameter is no number, or a leaf is not floating-point.
        ValueError: if a hyperparameter lies outside its range, `update` gets no params,
            or gradients do not match the params.
    """
    hyperparameters("adafactor", decay=decay, eps=eps)
    hyperparameter("adafactor", "clip", clip, below=math.inf)
    least_size = integer("adafactor", "least_size", least_size, minimum=1)

    def scalars(t):
        rest = t.astype(jnp.result_type(float)) ** (
            -jnp.asarray(decay, jnp.result_type(float))
        )
        return 1 - rest, rest, clip, eps

    return method(
        "adafactor",
        AdafactorState,
        rule_of(least_size, relative),
        scalars,
        learning_rate,
        start=lambda w: start(w, least_size),
        why="its steps are in proportion to weights",
        decay=Decay(weight_decay, mask),
    )


def start(w, least_size):
    """The zeros that the means of one leaf begin with."""
    dtype, axes = accumulator(w.dtype), factored(w.shape, least_size)
    if axes is None:
        nothing = jnp.zeros((1,), dtype)  # as some checkpoints refuse arrays of size 0
        return jnp.zeros(w.shape, dtype), nothing
    return tuple(jnp.zeros(np.delete(w.shape, a), dtype) for a in axes)


def rule_of(least_size, relative):
    """The rule of one leaf, which is factored if it is large enough."""

    def rule(g, row, column, beta, a, clip, eps, *, w):
        square, axes = g * g + eps, factored(g.shape, least_size)
        if axes is None:
            row = beta * row + a * square
            u = g * jax.lax.rsqrt(row)
        else:
            large, small = axes
            row = beta * row + a * square.mean(large)
            column = beta * column + a * square.mean(small)
            own = small - (small > large)  # the axis of `row` that `column` lacks
            share = row / row.mean(own, keepdims=True)
            u = g * jnp.expand_dims(jax.lax.rsqrt(share), large)
            u = u * jnp.expand_dims(jax.lax.rsqrt(column), small)
        u = u / jnp.maximum(1, rms(u) / clip)
        return (jnp.maximum(rms(w), 1e-3) * u if relative else u), row, column

    return rule


def factored(shape, least_size):
    """The largest axis and the second largest, or None for too small an array."""
    if len(shape) < 2:
        return None
    *_, small, large = map(int, np.argsort(shape))
    return (large, small) if shape[small] >= least_size else None
