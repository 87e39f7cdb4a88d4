"""Means over elements: of squares, and of answers to yes or no."""

import jax
import jax.numpy as jnp

from funcnn import ops
from funcnn.losses._average import Average, mean


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
