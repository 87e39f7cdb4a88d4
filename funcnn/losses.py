"""Scalar losses: means of the ops over all examples, and accuracy.

The mean over an empty batch is 0, with gradients of 0, so that a batch which happens to
hold nothing leaves no NaN in the params.
"""

import jax
import jax.numpy as jnp

from funcnn import ops
from funcnn.foundation._checks import as_labels, float_arrays
from funcnn.kernels._labels import in_range


def softmax_cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
) -> jax.Array:
    """Mean cross entropy between labels and the softmax of logits.

    Args:
        logits: shape `(..., C)`.
        labels: integers of shape `(...)`, or probabilities of shape `(..., C)`.
        label_smoothing: share in [0, 1] of each label spread evenly over all classes.
        z_loss: weight, at least 0, of the squared logarithm of the normaliser.

    Returns:
        Shape `()`, in nats, in at least float32.

    Raises:
        TypeError: if an array has the wrong kind of dtype.
        ValueError: if the shapes do not fit or a number is out of range.
    """
    return _mean(ops.softmax_cross_entropy(logits, labels, label_smoothing, z_loss))


def linear_softmax_cross_entropy(
    x: jax.Array,
    weight: jax.Array,
    labels: jax.Array,
    bias: jax.Array | None = None,
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    softcap: float | None = None,
    ignore: int | None = None,
) -> jax.Array:
    """Mean cross entropy between labels and the softmax of `x @ weight + bias`.

    For a large vocabulary: the logits are never all in memory.

    Args:
        x: shape `(..., d)`.
        weight: shape `(d, V)`, a column for each class.
        labels: integers of shape `(...)`.
        bias: shape `(V,)`, or None for no bias.
        label_smoothing: share in [0, 1] of each label spread evenly over all classes.
        z_loss: weight, at least 0, of the squared logarithm of the normaliser.
        softcap: if given, logits become `softcap * tanh(logits / softcap)`.
        ignore: if given, examples of this label are left out, of the mean too.

    Returns:
        Shape `()`, in nats, in at least float32.

    Raises:
        TypeError: if an array has the wrong kind of dtype, or an option is no number.
        ValueError: if the shapes do not fit or a number is out of range.
    """
    each = ops.linear_softmax_cross_entropy(
        x, weight, labels, bias, label_smoothing, z_loss, softcap, ignore
    )
    if ignore is None:
        return _mean(each)
    labels, _ = in_range(jnp.asarray(labels), weight.shape[-1])
    counted = (labels != ignore).sum().astype(each.dtype)
    return each.sum() / jnp.maximum(counted, 1)


def cross_entropy(probs: jax.Array, labels: jax.Array, *, eps: float = 1e-10) -> jax.Array:
    """Mean cross entropy between labels and probabilities.

    For a model that ends in a softmax already; `softmax_cross_entropy` is the better
    one where there is a choice.

    Args:
        probs: shape `(..., C)`, not negative.
        labels: integers of shape `(...)`, or probabilities of shape `(..., C)`.
        eps: added to each probability, at least 0.

    Returns:
        Shape `()`, in nats, in at least float32.

    Raises:
        TypeError: if an array has the wrong kind of dtype.
        ValueError: if the shapes do not fit or `eps` is negative.
    """
    return _mean(ops.cross_entropy(probs, labels, eps))


def mse(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Mean squared difference, over all elements.

    Args:
        prediction: any shape.
        target: the same shape.

    Returns:
        Shape `()`, in at least float32.

    Raises:
        TypeError: if an argument is not a floating-point array.
        ValueError: if the shapes differ.
    """
    return _mean(ops.mse(prediction, target))


def accuracy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Share of examples whose largest logit is the label's: a metric, not a loss.

    Args:
        logits: shape `(..., C)`; probabilities will do. Of equal ones the first counts.
        labels: integers of shape `(...)`, or probabilities of shape `(..., C)`, of which
            the largest counts.

    Returns:
        Shape `()`, float32.

    Raises:
        TypeError: if an array has the wrong kind of dtype.
        ValueError: if the shapes do not fit.
    """
    (logits,) = float_arrays("accuracy", logits=logits)
    labels = as_labels("accuracy", "logits", logits, labels)
    if jnp.issubdtype(labels.dtype, jnp.floating):
        labels = labels.argmax(-1)
    best = logits.argmax(-1)
    return _mean((best == labels.astype(best.dtype)).astype(jnp.float32))


def _mean(values):
    """The mean over everything, 0 of nothing."""
    return values.sum() / max(values.size, 1)
