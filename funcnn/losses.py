"""Scalar losses: means of the ops over all examples, and accuracy.

The mean over an empty batch, or over examples none of which counts, is 0, with gradients of
0, so that a batch which happens to hold nothing leaves no NaN in the params.

A mean of means is not the mean: of a batch in parts, each with another number of examples
that count, it is another number, with another gradient. Where a batch is in parts, let a
loss return `Average(total, count)`, which every loss here gives with `parts=True`:

    def loss(params, batch, key):
        ids, labels = batch
        logits = model.apply(params, ids, key=key)
        return losses.softmax_cross_entropy(logits, labels, ignore=-1, parts=True)

`train.make_step` takes it in place of a number, adds up both over microbatches, and
divides once; `optim.accumulate` does so over steps, and `train.evaluator` over batches.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from funcnn import ops
from funcnn.foundation._checks import as_labels, as_weights, float_arrays, ignored
from funcnn.foundation._dtypes import accumulator, divisor, upcast
from funcnn.kernels._labels import counted, in_range, weighted


class Average(NamedTuple):
    """A mean that has not been divided yet: what is added up, and over how many.

    Of parts, totals are added, and counts, as `jax.lax.psum(average, axis)` does in
    `jax.shard_map`; the quotient is that of the whole.

    Attributes:
        total: shape `()`.
        count: the number of examples that count, or the sum of their weights; shape `()`.
    """

    total: jax.Array
    count: jax.Array  # type: ignore[assignment]  # a tuple's method is of no use here

    @property
    def value(self) -> jax.Array:
        """The mean; 0 if nothing counts."""
        return self.total / jnp.where(self.count == 0, 1, self.count)


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


def binary_cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    *,
    pos_weight: jax.Array | None = None,
    label_smoothing: float = 0.0,
    weights: jax.Array | None = None,
    parts: bool = False,
) -> jax.Array | Average:
    """Mean cross entropy between yes or no and the logistic function of logits.

    Args:
        logits: any shape.
        labels: the same shape; booleans, integers 0 and 1, or probabilities of yes.
        pos_weight: by which the loss of yes is multiplied; a number, or an array that
            broadcasts to the shape of `logits`. The mean is not divided by it, as in
            PyTorch.
        label_smoothing: share in [0, 1] of each label spread evenly over yes and no.
        weights: broadcast to the shape of `logits`; the mean is weighted by them. Elements
            of weight 0 are left out, whatever their logits are.
        parts: whether to return an `Average`, not divided yet.

    Returns:
        Shape `()`, in nats, in at least float32; or an `Average` of two such.

    Raises:
        TypeError: if an array has the wrong kind of dtype.
        ValueError: if the shapes do not fit or a number is out of range.
    """
    op = "binary_cross_entropy"
    each = ops.binary_cross_entropy(logits, labels, pos_weight, label_smoothing, weights)
    if weights is not None:
        weights = jnp.broadcast_to(weights, each.shape)
    return mean(op, each, labels, (), weights, parts)


def mse(
    prediction: jax.Array, target: jax.Array, *, parts: bool = False
) -> jax.Array | Average:
    """Mean squared difference, over all elements.

    Args:
        prediction: any shape.
        target: the same shape.
        parts: whether to return an `Average`, not divided yet.

    Returns:
        Shape `()`, in at least float32; or an `Average` of two such.

    Raises:
        TypeError: if an argument is not a floating-point array.
        ValueError: if the shapes differ.
    """
    return mean("mse", ops.mse(prediction, target), None, (), None, parts)


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
    each = weighted(each, counted(labels, ignore, weights), weights)
    return mean("accuracy", each, labels, ignore, weights, parts)


def several(ignore):
    """A tuple, which an op holds fixed, in place of a list or a set."""
    return tuple(ignore) if isinstance(ignore, list | set | frozenset) else ignore


def mean(name, each, labels, ignore, weights, parts):
    """The mean of what losses give, weighted already and 0 where examples do not count."""
    dtype = accumulator(each.dtype)
    if weights is None and (ignore is None or ignore == ()):
        count = jnp.asarray(divisor(each.size), dtype)
    else:
        labels = jnp.asarray(labels)
        keep = counted(labels, ignored(name, ignore, labels) if ignore else (), weights)
        ones = jnp.ones(each.shape, dtype)
        count = weighted(ones, keep, None if weights is None else jnp.asarray(weights))
        count = jax.lax.stop_gradient(count.sum())
    average = Average(each.sum(), count)
    return average if parts else average.value
