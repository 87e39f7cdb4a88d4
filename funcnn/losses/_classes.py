"""Means over examples that have one class of several, and accuracy."""

import jax
import jax.numpy as jnp

from funcnn import ops
from funcnn.foundation._checks import as_labels, as_weights, float_arrays, ignored
from funcnn.foundation._dtypes import upcast
from funcnn.kernels._labels import counted, in_range, weighted
from funcnn.losses._average import Average, mean, several


def softmax_cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    ignore: int | tuple[int, ...] | None = None,
    weights: jax.Array | None = None,
    class_weights: jax.Array | None = None,
    parts: bool = False,
) -> jax.Array | Average:
    """Mean cross entropy between labels and the softmax of logits.

    Args:
        logits: shape `(..., C)`, with at least two classes.
        labels: integers of shape `(...)`, or probabilities of shape `(..., C)`.
        label_smoothing: share in [0, 1] of each label spread evenly over all classes.
        z_loss: weight, at least 0, of the squared logarithm of the normaliser.
        ignore: an integer label, or several, whose examples are left out of the mean.
        weights: shape `(...)`; the mean is weighted by them. Examples of weight 0 are left
            out, whatever their logits are.
        class_weights: shape `(C,)`, by which the (smoothed) probability of each class in
            the label is multiplied. As in PyTorch, the mean is divided by the sum of the
            weights of the labels' classes, unless labels are probabilities.
        parts: whether to return an `Average`, not divided yet.

    Returns:
        Shape `()`, in nats, in at least float32; or an `Average` of two such.

    Raises:
        TypeError: if an array has the wrong kind of dtype, or `ignore` is no integer or
            labels are probabilities.
        ValueError: if the shapes do not fit, there is one class only, or a number is out
            of range.
    """
    ignore = several(ignore)
    each = ops.softmax_cross_entropy(
        logits, labels, label_smoothing, z_loss, ignore, weights, class_weights
    )
    labels = jnp.asarray(labels)
    if class_weights is not None and jnp.issubdtype(labels.dtype, jnp.integer):
        class_weights = upcast(jnp.asarray(class_weights))
        at, known = in_range(labels, class_weights.size)
        own = class_weights[jnp.where(known, at, 0)[..., 0]]
        weights = own if weights is None else own * jnp.asarray(weights).astype(own.dtype)
    return mean("softmax_cross_entropy", each, labels, ignore, weights, parts)


def linear_softmax_cross_entropy(
    x: jax.Array,
    weight: jax.Array,
    labels: jax.Array,
    bias: jax.Array | None = None,
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    softcap: float | None = None,
    ignore: int | tuple[int, ...] | None = None,
    weights: jax.Array | None = None,
    parts: bool = False,
) -> jax.Array | Average:
    """Mean cross entropy between labels and the softmax of `x @ weight + bias`.

    For a large vocabulary: the logits are never all in memory.

    Args:
        x: shape `(..., d)`.
        weight: shape `(d, V)`, a column for each of at least two classes.
        labels: integers of shape `(...)`.
        bias: shape `(V,)`, or None for no bias.
        label_smoothing: share in [0, 1] of each label spread evenly over all classes.
        z_loss: weight, at least 0, of the squared logarithm of the normaliser.
        softcap: if given, logits become `softcap * tanh(logits / softcap)`.
        ignore: an integer label, or several, whose examples are left out of the mean.
        weights: shape `(...)`; the mean is weighted by them. Examples of weight 0 are left
            out, whatever they hold.
        parts: whether to return an `Average`, not divided yet.

    Returns:
        Shape `()`, in nats, in at least float32; or an `Average` of two such.

    Raises:
        TypeError: if an array has the wrong kind of dtype, or an option is no number.
        ValueError: if the shapes do not fit, there is one class only, or a number is out
            of range.
    """
    ignore = several(ignore)
    each = ops.linear_softmax_cross_entropy(
        x, weight, labels, bias, label_smoothing, z_loss, softcap, ignore, weights
    )
    return mean("linear_softmax_cross_entropy", each, labels, ignore, weights, parts)


def cross_entropy(
    probs: jax.Array,
    labels: jax.Array,
    *,
    eps: float = 1e-10,
    ignore: int | tuple[int, ...] | None = None,
    weights: jax.Array | None = None,
    parts: bool = False,
) -> jax.Array | Average:
    """Mean cross entropy between labels and probabilities.

    For a model that ends in a softmax already; `softmax_cross_entropy` is the better
    one where there is a choice.

    Args:
        probs: shape `(..., C)`, not negative, of at least two classes.
        labels: integers of shape `(...)`, or probabilities of shape `(..., C)`.
        eps: added to each probability, at least 0.
        ignore: an integer label, or several, whose examples are left out of the mean.
        weights: shape `(...)`; the mean is weighted by them. Examples of weight 0 are left
            out, whatever their probabilities are.
        parts: whether to return an `Average`, not divided yet.

    Returns:
        Shape `()`, in nats, in at least float32; or an `Average` of two such.

    Raises:
        TypeError: if an array has the wrong kind of dtype, or `ignore` is no integer or
            labels are probabilities.
        ValueError: if the shapes do not fit, there is one class only, or `eps` is negative.
    """
    ignore = several(ignore)
    each = ops.cross_entropy(probs, labels, eps, ignore, weights)
    return mean("cross_entropy", each, labels, ignore, weights, parts)


def accuracy(
    logits: jax.Array,
    labels: jax.Array,
    *,
    ignore: int | tuple[int, ...] | None = None,
    weights: jax.Array | None = None,
    parts: bool = False,
) -> jax.Array | Average:
    """Share of examples whose largest logit is the label's: a metric, not a loss.

    Args:
        logits: shape `(..., C)`, with at least two classes; probabilities will do. Of equal
            ones the first counts.
        labels: integers of shape `(...)`, or probabilities of shape `(..., C)`, of which
            the largest counts.
        ignore: an integer label, or several, whose examples are left out.
        weights: shape `(...)`, of the examples. Those of weight 0 are left out.
        parts: whether to return an `Average`, not divided yet.

    Returns:
        Shape `()`, float32; or an `Average` of two such.

    Raises:
        TypeError: if an array has the wrong kind of dtype, or `ignore` is no integer or
            labels are probabilities.
        ValueError: if the shapes do not fit, or there is one class only.
    """
    (logits,) = float_arrays("accuracy", logits=logits)
    labels = as_labels("accuracy", "logits", logits, labels)
    ignore = ignored("accuracy", ignore, labels)
    weights = as_weights("accuracy", weights, logits.shape[:-1])
    if weights is not None:
        weights = weights.astype(jnp.float32)
    found = labels
    if jnp.issubdtype(labels.dtype, jnp.floating):
        found = labels.argmax(-1)
    best = logits.argmax(-1)
    each = (best == found.astype(best.dtype)).astype(jnp.float32)
    each = weighted(each, counted(labels, ignore), weights)
    return mean("accuracy", each, labels, ignore, weights, parts)
