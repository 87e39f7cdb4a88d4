r"""Softmax and cross entropy in one, from logits.

**Forward.** For logits $x$ and label probabilities $t$ over the last axis, with
$\operatorname{lse}(x) = \log \sum_j e^{x_j}$,

$$\ell = \sum_i t'_i\,(\operatorname{lse}(x) - x_i) + \zeta \operatorname{lse}(x)^2,
\qquad t' = (1 - \alpha)\,t + \alpha / C.$$

An integer label is the probability 1 of its class. $\alpha$ is label smoothing (Szegedy et
al., 2015, arXiv:1512.00567) and $\zeta$ the z-loss, which keeps the normaliser near 1
(Chowdhery et al., 2022, arXiv:2204.02311).

**Backward.** $\partial \operatorname{lse} / \partial x = p$, the softmax, so

$$\dot\ell = \sum_i \big( (\textstyle\sum_j t'_j + 2 \zeta \operatorname{lse})\,p_i - t'_i
\big)\,\dot x_i + (1 - \alpha) \sum_i (\operatorname{lse} - x_i)\,\dot t_i,$$

and, $\ell$ being a number for each row, the pullback reads off the coefficients:

$$\bar x = \bar\ell\,\big( (\textstyle\sum_j t'_j + 2 \zeta \operatorname{lse})\,p - t'
\big), \qquad \bar t = \bar\ell\,(1 - \alpha)\,(\operatorname{lse} - x).$$

**Residuals.** $x$, the labels (both inputs), and two numbers a row, the largest logit $m$
and $\log \sum_j e^{x_j - m}$: $p$ is made again. Their sum, $\operatorname{lse}$, would
lose the digits by which large logits differ.

**Hard points.** Logits of $\pm 10^4$ and more keep their digits. A class with logit
$-\infty$ and (smoothed) label $t' = 0$ adds nothing to the loss or to any cotangent; with
$t' > 0$ the loss is $\infty$. Integer labels outside $[0, C)$ give NaN, the only honest
answer once traced.

**Speed.** An integer label's loss reads the logit of its class alone, and its pullback
knows that $\sum_j t'_j = 1$: two passes over the logits forward, one backward, and no array
of probabilities.
"""

from functools import partial

import jax
import jax.numpy as jnp

from funcnn.foundation._checks import as_labels, float_arrays, number
from funcnn.foundation._cotangents import cast_like
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._dtypes import upcast
from funcnn.kernels._labels import in_range, log_normalizer, one_hot, probabilities


@partial(custom_vjp, nondiff_argnums=(2, 3))
def softmax_cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
) -> jax.Array:
    """Cross entropy between labels and the softmax of logits, for each example.

    Args:
        logits: shape `(..., C)`.
        labels: integers of shape `(...)`, or probabilities of shape `(..., C)`, which are
            differentiated and need not sum to 1.
        label_smoothing: share in [0, 1] of each label spread evenly over all classes.
        z_loss: weight, at least 0, of the squared logarithm of the normaliser.

    Returns:
        Losses of shape `(...)`, in nats, in at least float32.

    Raises:
        TypeError: if an array has the wrong kind of dtype.
        ValueError: if the shapes do not fit or a number is out of range.
    """
    return softmax_cross_entropy_fwd(logits, labels, label_smoothing, z_loss)[0]


def softmax_cross_entropy_fwd(logits, labels, label_smoothing, z_loss):
    (logits,) = float_arrays("softmax_cross_entropy", logits=logits)
    labels = as_labels("softmax_cross_entropy", "logits", logits, labels)
    label_smoothing, z_loss = coefficients(label_smoothing, z_loss)
    x = upcast(logits)
    top, log_sum = log_normalizer(x, -1)
    if jnp.issubdtype(labels.dtype, jnp.integer):
        loss = surprise_of_class(x, top, log_sum, labels, label_smoothing)
    else:
        t, absent = targets(labels, x, label_smoothing)
        loss = jnp.where(absent, 0, t * (log_sum - (x - top))).sum(-1)
    return loss + z_loss * ((top + log_sum) ** 2)[..., 0], (logits, labels, top, log_sum)


def softmax_cross_entropy_bwd(label_smoothing, z_loss, residuals, dy):
    label_smoothing, z_loss = coefficients(label_smoothing, z_loss)
    logits, labels, top, log_sum = residuals
    x, dy = upcast(logits), dy[..., None]
    pull = 2 * z_loss * (top + log_sum)  # towards a normaliser of 1
    if jnp.issubdtype(labels.dtype, jnp.integer):
        labels, known = in_range(labels, x.shape[-1])
        t = jnp.where(one_hot(labels, x), 1 - label_smoothing, 0)
        t = t.astype(x.dtype) + label_smoothing / x.shape[-1]
        total, dlabels = jnp.where(known, 1, jnp.nan), None
    else:
        t, absent = targets(labels, x, label_smoothing)
        total = t.sum(-1, keepdims=True)
        surprise = jnp.where(absent, 0, log_sum - (x - top))
        dlabels = dy * (1 - label_smoothing) * surprise
    # a number a row, or XLA:CPU computes it again for every class
    slope = jax.lax.optimization_barrier(dy * (total + pull) * jnp.exp(-log_sum))
    return cast_like((slope * jnp.exp(x - top) - dy * t, dlabels), residuals[:2])


softmax_cross_entropy.defvjp(softmax_cross_entropy_fwd, softmax_cross_entropy_bwd)


def coefficients(label_smoothing, z_loss):
    op = "softmax_cross_entropy"
    return (
        number(op, "label_smoothing", label_smoothing, low=0.0, high=1.0),
        number(op, "z_loss", z_loss, low=0.0),
    )


def surprise_of_class(x, top, log_sum, labels, label_smoothing):
    """The loss of a label that is one class, whose logit alone is read for it."""
    labels, known = in_range(labels, x.shape[-1])
    loss = log_sum - (jnp.take_along_axis(x, jnp.where(known, labels, 0), -1) - top)
    if label_smoothing:
        spread = (log_sum - (x - top)).mean(-1, keepdims=True)
        loss = (1 - label_smoothing) * loss + label_smoothing * spread
    return jnp.where(known, loss, jnp.nan)[..., 0]


def targets(labels, x, label_smoothing):
    """Smoothed labels, and which classes are absent: no logit and no label."""
    t = probabilities(labels, x)
    t = (1 - label_smoothing) * t + label_smoothing / t.shape[-1]
    absent = (x == -jnp.inf) & (t == 0)
    return jnp.where(absent, 0, t), absent


def softmax_cross_entropy_reference(logits, labels, label_smoothing=0.0, z_loss=0.0):
    """The definition, left to `jax.grad`; classes that are absent are left out."""
    classes = logits.shape[-1]
    if jnp.issubdtype(labels.dtype, jnp.integer):
        labels = jnp.eye(classes)[labels]
    t = (1 - label_smoothing) * labels + label_smoothing / classes
    top = jax.lax.stop_gradient(logits.max(-1, keepdims=True))
    log_sum = jnp.log(jnp.exp(logits - top).sum(-1, keepdims=True))
    left_out = (logits == -jnp.inf) & (t == 0)
    surprise = log_sum - jnp.where(left_out, 0, logits - top)
    loss = jnp.where(left_out, 0, t * surprise).sum(-1)
    return loss + z_loss * (top + log_sum)[..., 0] ** 2


def softmax_cross_entropy_cases(rng):
    """Arguments on which every claim is tested."""
    x = rng.standard_normal((3, 5))
    ids = rng.integers(0, 5, 3)
    t = rng.dirichlet(jnp.ones(5), 3)
    gap = x.copy()
    gap[[0, 1, 2], (ids + 1) % 5] = -jnp.inf
    return {
        "integer labels": (x, ids),
        "probabilities": (x, t),
        "not summing to 1": (x, 3 * t),
        "label smoothing": (x, ids, 0.1),
        "smoothed probabilities, z-loss": (x, t, 0.3, 0.2),
        "z-loss": (x, ids, 0.0, 0.5),
        "sequence": (rng.standard_normal((2, 3, 4)), rng.integers(0, 4, (2, 3))),
        "one example": (x[0], ids[0]),
        "large": (1e4 * x, ids),
        "large, z-loss": (1e4 * x, t, 0.3, 0.2),
        "absent class": (gap, ids),
        "absent class, probabilities": (gap, t * (gap > -jnp.inf), 0.0, 0.1),
        "one class": (x[:, :1], 0 * ids),
        "empty batch": (x[:0], ids[:0]),
    }
