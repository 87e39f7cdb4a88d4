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
moments have the params' dtypes, unless `moments` says otherwise. In bfloat16, whose
numbers are 0.4% apart, $\nu$ rounded to nearest cannot follow a $\beta_2$ of 0.999, and
in float16 it is 0 for gradients below 5e-3, which then are divided by $\epsilon$: give
`moments=float32` there, or `moments=bfloat16`, which rounds by chance.
"""

from typing import NamedTuple

import chex
import jax.numpy as jnp

from funcnn.optim.leafwise._means import adam_means, debias, means
from funcnn.optim.leafwise._method import method
from funcnn.optim.leafwise._rule import UNSCALED, Decay
from funcnn.optim.precision._moments import Moments
from funcnn.optim.protocol._masks import Mask
from funcnn.optim.protocol._optimizer import Optimizer
from funcnn.optim.protocol._rates import LearningRate, hyperparameters


class AdamState(NamedTuple):
    """Updates made so far, and the two moments, each like params."""

    step: chex.Array
    mu: chex.ArrayTree
    nu: chex.ArrayTree


def adam(
    learning_rate: LearningRate,
    b1: chex.Numeric = 0.9,
    b2: chex.Numeric = 0.999,
    eps: chex.Numeric = 1e-8,
    *,
    moments: Moments = None,
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
        moments: what to store the moments as: a dtype, `Int8()`, or None for the
            params' dtypes. Where the storing rounds by chance (bfloat16, `Int8`), steps
            are made of the moments as stored.

    Returns:
        An `Optimizer` for any pytree of floating-point arrays. Updates have the
        gradients' dtypes; arithmetic is in at least float32.

    Raises:
        TypeError: if a hyperparameter is no number or, in `init` and `update`, a leaf
            is not floating-point.
        ValueError: if a hyperparameter lies outside its range, or gradients do not
            match the params in structure and shapes.
    """
    return build("adam", learning_rate, b1, b2, eps, moments=moments)


def adamw(
    learning_rate: LearningRate,
    b1: chex.Numeric = 0.9,
    b2: chex.Numeric = 0.999,
    eps: chex.Numeric = 1e-8,
    weight_decay: chex.Numeric = 1e-4,
    *,
    mask: Mask = None,
    moments: Moments = None,
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
        mask: which leaves decay: a pytree of bools like params, or a prefix of it, or a
            function of params that returns one, such as `decay_mask`, which leaves out
            biases, norms and embeddings, in stacks too. None for all.
        moments: as in `adam`.

    Returns:
        An `Optimizer` for any pytree of floating-point arrays; its `update` needs
        params. Dtypes are as in `adam`.

    Raises:
        TypeError: if a hyperparameter is no number or, in `init` and `update`, a leaf
            is not floating-point.
        ValueError: if a hyperparameter lies outside its range, `update` gets no params,
            or gradients do not match the params in structure and shapes.
    """
    decay = Decay(weight_decay, mask)
    return build("adamw", learning_rate, b1, b2, eps, decay=decay, moments=moments)


def scale_by_adam(
    b1: chex.Numeric = 0.9,
    b2: chex.Numeric = 0.999,
    eps: chex.Numeric = 1e-8,
    *,
    moments: Moments = None,
) -> Optimizer:
    r"""Adam's direction, $\hat\mu / (\sqrt{\hat\nu} + \epsilon)$, for use in a chain.

    Args, dtypes and errors are those of `adam`, which is this times $-\eta$.
    """
    return build("scale_by_adam", UNSCALED, b1, b2, eps, moments=moments)


def build(name, learning_rate, b1, b2, eps, **more):
    """Adam, AdamW or Adam's direction; errors speak of `name`."""
    hyperparameters(name, b1=b1, b2=b2, eps=eps)

    def scalars(t):
        return *means(b1, b2), *debias(t, b1, b2), eps

    return method(name, AdamState, adam_rule, scalars, learning_rate, **more)


def adam_rule(g, mu, nu, b1, a1, b2, a2, c1, c2, eps, *, keep):
    """The direction of one leaf, and its moments."""
    mu, nu = keep(*adam_means(g, mu, nu, b1, a1, b2, a2))
    return c1 * mu / (jnp.sqrt(c2 * nu) + eps), mu, nu
