r"""Softmax and cross entropy in one, from logits.

**Forward.** For logits $x$ and label probabilities $t$ over the last axis, with
$\operatorname{lse}(x) = \log \sum_j e^{x_j}$,

$$\ell = w \Big( \sum_i t'_i\,(\operatorname{lse}(x) - x_i) +
\zeta \operatorname{lse}(x)^2 \Big), \qquad
t'_i = c_i \big( (1 - \alpha)\,t_i + \alpha / C \big).$$

An integer label is the probability 1 of its class. $\alpha$ is label smoothing (Szegedy et
al., 2015, arXiv:1512.00567) and $\zeta$ the z-loss, which keeps the normaliser near 1
(Chowdhery et al., 2022, arXiv:2204.02311). $w$ is the weight of the example and $c_i$ that
of class $i$; both are 1 unless they are given.

**Backward.** $\partial \operatorname{lse} / \partial x = p$, the softmax, so, with $L$ what
$w$ is a factor of,

$$\dot\ell = w \sum_i \big( (\textstyle\sum_j t'_j + 2 \zeta \operatorname{lse})\,p_i - t'_i
\big)\,\dot x_i + w \sum_i (\operatorname{lse} - x_i)\,\dot t'_i + L\,\dot w,$$

and, $\ell$ being a number for each row, the pullback reads off the coefficients:

$$\bar x = \bar\ell\,w\,\big( (\textstyle\sum_j t'_j + 2 \zeta \operatorname{lse})\,p - t'
\big), \qquad \bar t' = \bar\ell\,w\,(\operatorname{lse} - x),$$

$$\bar w = \bar\ell\,L, \qquad \bar t = (1 - \alpha)\,c \odot \bar t', \qquad
\bar c = \sum_{\rm rows} \big( (1 - \alpha)\,t + \alpha / C \big) \odot \bar t'.$$

**Residuals.** $x$, the labels, the weights (all inputs), and two numbers a row, the largest
logit $m$ and $\log \sum_j e^{x_j - m}$: $p$ is made again. Their sum, $\operatorname{lse}$,
would lose the digits by which large logits differ. With weights, $L$ too.

**Hard points.** Logits of $\pm 10^4$ and more keep their digits. A class with logit
$-\infty$ and (smoothed) label $t' = 0$ adds nothing to the loss or to any cotangent; with
$t' > 0$ the loss is $\infty$. Integer labels outside $[0, C)$ give NaN, the only honest
answer once traced. Where a label is ignored or a weight is 0, the loss and the cotangents
of its row are exactly 0, whatever is in the row.

**Speed.** An integer label's loss reads the logit of its class alone, and its pullback
knows $\sum_j t'_j$: two passes over the logits forward, one backward, and no array of
probabilities.
"""

from functools import partial

import jax
import jax.numpy as jnp

from funcnn.foundation._checks import (
    as_labels,
    as_weights,
    float_arrays,
    ignored,
    number,
)
from funcnn.foundation._cotangents import cast_like
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._dtypes import upcast
from funcnn.foundation._products import rows
from funcnn.kernels._class_targets import (
    of_classes,
    surprise_of_class,
    targets,
    total_of_class,
)
from funcnn.kernels._labels import counted, in_range, log_normalizer, one_hot, weighted

OP = "softmax_cross_entropy"


@partial(custom_vjp, nondiff_argnums=(2, 3, 4))
def softmax_cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    ignore: int | tuple[int, ...] | None = None,
    weights: jax.Array | None = None,
    class_weights: jax.Array | None = None,
) -> jax.Array:
    """Cross entropy between labels and the softmax of logits, for each example.

    Args:
        logits: shape `(..., C)`, with at least two classes.
        labels: integers of shape `(...)`, or probabilities of shape `(..., C)`, which are
            differentiated and need not sum to 1.
        label_smoothing: share in [0, 1] of each label spread evenly over all classes.
        z_loss: weight, at least 0, of the squared logarithm of the normaliser.
        ignore: an integer label, or a tuple of them, whose examples have loss 0 and add to
            no cotangent.
        weights: shape `(...)`, by which losses are multiplied. Of weight 0, loss and
            cotangents are 0 whatever the logits are.
        class_weights: shape `(C,)`, by which the (smoothed) probability of each class in
            the label is multiplied, as by PyTorch's `weight`.

    Returns:
        Losses of shape `(...)`, in nats, in at least float32.

    Raises:
        TypeError: if an array has the wrong kind of dtype, or `ignore` is no integer or
            labels are probabilities.
        ValueError: if the shapes do not fit, there is one class only, or a number is out
            of range.
    """
    return softmax_cross_entropy_fwd(
        logits, labels, label_smoothing, z_loss, ignore, weights, class_weights
    )[0]


def softmax_cross_entropy_fwd(logits, labels, *options_and_weights):
    *options, weights, class_weights = options_and_weights
    logits, labels, weights, class_weights = arrays(logits, labels, weights, class_weights)
    label_smoothing, z_loss, ignore = settings(labels, *options)
    x, ids = upcast(logits), of_classes(labels, ignore)
    top, log_sum = log_normalizer(x, -1)
    if jnp.issubdtype(labels.dtype, jnp.integer):
        loss = surprise_of_class(x, top, log_sum, ids, label_smoothing, class_weights)
    else:
        t, absent = targets(labels, x, label_smoothing, class_weights)
        loss = jnp.where(absent, 0, t * (log_sum - (x - top))).sum(-1)
    loss = loss + z_loss * ((top + log_sum) ** 2)[..., 0]
    kept = None if weights is None else loss
    loss = weighted(loss, counted(labels, ignore, weights, loss), weights)
    return loss, (logits, labels, weights, class_weights, top, log_sum, kept)


def softmax_cross_entropy_bwd(label_smoothing, z_loss, ignore, residuals, dy):
    logits, labels, weights, class_weights, top, log_sum, loss = residuals
    label_smoothing, z_loss, ignore = settings(labels, label_smoothing, z_loss, ignore)
    keep = counted(labels, ignore)
    dweights = None if weights is None else weighted(dy * loss, keep, None)
    keep = counted(labels, ignore, weights, loss)
    x, dy = upcast(logits), weighted(dy, keep, weights)[..., None]
    pull = 2 * z_loss * (top + log_sum)  # towards a normaliser of 1
    if jnp.issubdtype(labels.dtype, jnp.integer):
        ids, known = in_range(of_classes(labels, ignore), x.shape[-1])
        even = jnp.where(one_hot(ids, x), 1 - label_smoothing, 0)
        even = even.astype(x.dtype) + label_smoothing / x.shape[-1]
        t = even if class_weights is None else even * upcast(class_weights)
        total = total_of_class(ids, known, label_smoothing, class_weights)
    else:
        t, _ = targets(labels, x, label_smoothing, class_weights)
        even = targets(labels, x, label_smoothing, None)[0]
        total = t.sum(-1, keepdims=True)
    # a number a row, or XLA:CPU computes it again for every class
    slope = jax.lax.optimization_barrier(dy * (total + pull) * jnp.exp(-log_sum))
    dx = slope * jnp.exp(x - top) - dy * t
    if keep is not None:
        dx = jnp.where(keep[..., None], dx, 0)
    dt = dy * jnp.where((x == -jnp.inf) & (t == 0), 0, log_sum - (x - top))
    dclasses = dlabels = None
    if class_weights is not None:
        every = even * dt if keep is None else jnp.where(keep[..., None], even * dt, 0)
        dclasses = every.sum(rows(every))
    if jnp.issubdtype(labels.dtype, jnp.floating):
        scale = 1 if class_weights is None else upcast(class_weights)
        dlabels = (1 - label_smoothing) * scale * dt
        if keep is not None:
            dlabels = jnp.where(keep[..., None], dlabels, 0)
    return cast_like((dx, dlabels, dweights, dclasses), residuals[:4])


softmax_cross_entropy.defvjp(softmax_cross_entropy_fwd, softmax_cross_entropy_bwd)


def arrays(logits, labels, weights, class_weights):
    """All arguments as arrays that fit."""
    logits, class_weights = float_arrays(
        OP, logits=logits, class_weights=class_weights, optional=("class_weights",)
    )
    labels = as_labels(OP, "logits", logits, labels)
    weights = as_weights(OP, weights, logits.shape[:-1])
    if class_weights is not None and class_weights.shape != logits.shape[-1:]:
        raise ValueError(
            f"{OP} needs class_weights of shape {logits.shape[-1:]} for logits of shape "
            f"{logits.shape}; got {class_weights.shape}."
        )
    return logits, labels, weights, class_weights


def settings(labels, label_smoothing, z_loss, ignore):
    """The options as Python's numbers."""
    return (
        number(OP, "label_smoothing", label_smoothing, low=0.0, high=1.0),
        number(OP, "z_loss", z_loss, low=0.0),
        ignored(OP, ignore, labels),
    )


def softmax_cross_entropy_reference(
    logits, labels, label_smoothing=0.0, z_loss=0.0, ignore=None, weights=None,
    class_weights=None,
):  # fmt: skip
    """The definition, left to `jax.grad`; classes that are absent are left out."""
    classes, keep = logits.shape[-1], jnp.ones(logits.shape[:-1], bool)
    if jnp.issubdtype(labels.dtype, jnp.integer):
        for value in () if ignore is None else jnp.atleast_1d(jnp.array(ignore)):
            keep &= labels != value.astype(labels.dtype)
        labels = jnp.eye(classes)[labels]
    t = (1 - label_smoothing) * labels + label_smoothing / classes
    if class_weights is not None:
        t = t * class_weights
    top = jax.lax.stop_gradient(logits.max(-1, keepdims=True))
    log_sum = jnp.log(jnp.exp(logits - top).sum(-1, keepdims=True))
    left_out = (logits == -jnp.inf) & (t == 0)
    surprise = log_sum - jnp.where(left_out, 0, logits - top)
    loss = jnp.where(left_out, 0, t * surprise).sum(-1)
    loss = loss + z_loss * (top + log_sum)[..., 0] ** 2
    loss = loss if weights is None else weights * loss
    return jnp.where(keep, loss, 0)


def softmax_cross_entropy_cases(rng):
    """Arguments on which every claim is tested."""
    x = rng.standard_normal((3, 5))
    ids = rng.integers(0, 5, 3)
    t = rng.dirichlet(jnp.ones(5), 3)
    gap = x.copy()
    gap[[0, 1, 2], (ids + 1) % 5] = -jnp.inf
    some, weights, classes = ids.copy(), rng.uniform(0.5, 2, 3), rng.uniform(0.5, 2, 5)
    some[1] = -1
    return {
        "integer labels": (x, ids),
        "probabilities": (x, t),
        "not summing to 1": (x, 3 * t),
        "label smoothing": (x, ids, 0.1),
        "smoothed probabilities, z-loss": (x, t, 0.3, 0.2),
        "z-loss": (x, ids, 0.0, 0.5),
        "ignored": (x, some, 0.1, 0.2, (-1, int(ids[2]))),
        "weights": (x, ids, 0.1, 0.2, None, weights),
        "weights of probabilities": (x, t, 0.0, 0.0, None, weights),
        "weights of classes": (x, ids, 0.3, 0.2, None, None, classes),
        "all weights": (x, t, 0.3, 0.0, None, weights, classes),
        "ignored, weights": (x, some, 0.0, 0.0, -1, weights, classes),
        "sequence": (rng.standard_normal((2, 3, 4)), rng.integers(0, 4, (2, 3))),
        "one example": (x[0], ids[0]),
        "large": (1e4 * x, ids),
        "large, z-loss": (1e4 * x, t, 0.3, 0.2),
        "absent class": (gap, ids),
        "absent class, probabilities": (gap, t * (gap > -jnp.inf), 0.0, 0.1),
        "empty batch": (x[:0], ids[:0]),
    }
