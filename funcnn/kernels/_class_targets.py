"""Labels, smoothed and weighted by class, and the loss of a label that is one class."""

import jax.numpy as jnp

from funcnn.foundation._dtypes import upcast
from funcnn.kernels._labels import counted, in_range, probabilities, read


def of_classes(labels, ignore):
    """Labels, with a class in place of those ignored: NaN there would outlast a mask."""
    return jnp.where(counted(labels, ignore, None), labels, 0) if ignore else labels


def surprise_of_class(x, top, log_sum, labels, label_smoothing, class_weights):
    """The loss of a label that is one class, whose logit alone is read for it."""
    labels, known = in_range(labels, x.shape[-1])
    labels = jnp.where(known, labels, 0)
    loss = log_sum - (read(x, labels) - top)
    if class_weights is not None:
        loss = loss * upcast(class_weights)[labels]
    if label_smoothing:
        spread = log_sum - (x - top)
        if class_weights is not None:
            spread = spread * upcast(class_weights)
        spread = spread.mean(-1, keepdims=True)
        loss = (1 - label_smoothing) * loss + label_smoothing * spread
    return jnp.where(known, loss, jnp.nan)[..., 0]


def total_of_class(labels, known, label_smoothing, class_weights):
    """The sum of the smoothed and weighted label, NaN if there is no such class."""
    if class_weights is None:
        return jnp.where(known, 1, jnp.nan)
    weight = upcast(class_weights)
    own = (1 - label_smoothing) * weight[jnp.where(known, labels, 0)]
    return jnp.where(known, own + label_smoothing * weight.mean(), jnp.nan)


def targets(labels, x, label_smoothing, class_weights):
    """Smoothed and weighted labels, and which classes are absent: no logit, no label."""
    t = probabilities(labels, x)
    t = (1 - label_smoothing) * t + label_smoothing / t.shape[-1]
    if class_weights is not None:
        t = t * upcast(class_weights)
    absent = (x == -jnp.inf) & (t == 0)
    return jnp.where(absent, 0, t), absent
