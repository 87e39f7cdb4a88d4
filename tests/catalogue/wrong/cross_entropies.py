"""Cross entropies: losses of logits and labels."""

import jax
import jax.numpy as jnp
import numpy as np

from ..entry import Entry, normals, pullback_of, rule
from .losses import labelled, log_softmax, one_hot, pick


def softmax(x):
    return jnp.exp(log_softmax(x))


def mean_cross_entropy(logits, labels):
    return -pick(log_softmax(logits), labels).mean()


def not_divided(r, dy):
    logits, labels = r
    return dy * (softmax(logits) - one_hot(labels, logits)), None


def soft_cross_entropy(logits, labels):
    return -(labels * log_softmax(logits)).sum(-1)


def labels_constant(r, dy):
    return pullback_of(soft_cross_entropy)(r, dy)[0], jnp.zeros_like(r[1])


def labels_taken_as_normalised(r, dy):
    logits, labels = r
    return dy[:, None] * (softmax(logits) - labels), -dy[:, None] * log_softmax(logits)


def smoothed_cross_entropy(logits, labels):
    log_p = log_softmax(logits)
    return -0.9 * pick(log_p, labels) - 0.1 * log_p.mean(-1)


def smoothing_forgotten(r, dy):
    logits, labels = r
    return dy[:, None] * (softmax(logits) - one_hot(labels, logits)), None


def weighted_cross_entropy(logits, labels, weight):
    w = weight[labels]
    return -(w * pick(log_softmax(logits), labels)).sum() / w.sum()


def weights_sum_constant(r, dy):
    logits, labels, weight = r
    dlogits, _, _ = pullback_of(weighted_cross_entropy)(r, dy)
    terms = -dy * pick(log_softmax(logits), labels) / weight[labels].sum()
    return dlogits, None, jnp.zeros_like(weight).at[labels].add(terms)


def binary_cross_entropy(logits, targets):
    return jnp.log1p(jnp.exp(logits)) - targets * logits


def sigmoid_slope_twice(r, dy):
    logits, targets = r
    p = jax.nn.sigmoid(logits)
    return dy * (p - targets) * p * (1 - p), -dy * logits


def modulation(logits, targets):
    p = jax.nn.sigmoid(logits)
    return (p + targets - 2 * p * targets) ** 2


def focal(logits, targets):
    return modulation(logits, targets) * binary_cross_entropy(logits, targets)


def modulation_constant(logits, targets):
    factor = jax.lax.stop_gradient(modulation(logits, targets))
    return factor * binary_cross_entropy(logits, targets)


def z_loss(logits, labels):
    z = jax.nn.logsumexp(logits, axis=-1)
    return z - pick(logits, labels) + 0.1 * z**2


def z_term_not_chained(r, dy):
    logits, labels = r
    slope = softmax(logits) - one_hot(labels, logits) + 0.2 * softmax(logits)
    return dy[:, None] * slope, None


def class_weighted(rng):
    return *labelled(rng), rng.uniform(0.5, 2, 5).astype(np.float32)


def binary(rng):
    logits = rng.standard_normal((3, 4), np.float32)
    return logits, rng.uniform(0.1, 0.9, (3, 4)).astype(np.float32)


ENTRIES = [
    Entry(
        "cross_entropy_mean_not_divided",
        "the loss is a mean over the batch, its rule that of a sum",
        rule(mean_cross_entropy, not_divided),
        labelled,
        mean_cross_entropy,
    ),
    Entry(
        "cross_entropy_soft_labels_constant",
        "the cotangent of soft labels is 0",
        rule(soft_cross_entropy, labels_constant),
        normals((3, 4), (3, 4)),
        soft_cross_entropy,
    ),
    Entry(
        "cross_entropy_labels_taken_as_normalised",
        "softmax minus labels, which is right only if the labels sum to 1",
        rule(soft_cross_entropy, labels_taken_as_normalised),
        normals((3, 4), (3, 4)),
        soft_cross_entropy,
    ),
    Entry(
        "cross_entropy_smoothing_forgotten",
        "the rule is that of hard labels, the loss smooths them",
        rule(smoothed_cross_entropy, smoothing_forgotten),
        labelled,
        smoothed_cross_entropy,
    ),
    Entry(
        "cross_entropy_class_weights_sum_constant",
        "the class weights' cotangent leaves out that their sum is divided by",
        rule(weighted_cross_entropy, weights_sum_constant),
        class_weighted,
        weighted_cross_entropy,
    ),
    Entry(
        "binary_cross_entropy_sigmoid_slope_twice",
        "the sigmoid's slope is applied to a cotangent of logits, where it has cancelled",
        rule(binary_cross_entropy, sigmoid_slope_twice),
        binary,
        binary_cross_entropy,
    ),
    Entry(
        "focal_modulation_constant",
        "the modulating factor is taken to be a constant",
        rule(focal, pullback_of(modulation_constant)),
        binary,
        focal,
    ),
    Entry(
        "z_loss_square_not_chained",
        "the squared log-partition's slope lacks the log-partition",
        rule(z_loss, z_term_not_chained),
        labelled,
        z_loss,
    ),
]
