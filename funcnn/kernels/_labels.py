"""Classes: integer labels beside scores, which count, and the log-sum-exp of the scores."""

import jax
import jax.numpy as jnp


def log_normalizer(x, axis):
    """The largest element and `log(sum(exp(x - largest)))` along `axis`, both kept.

    Their sum is the log-sum-exp; rounded into one number it would lose the digits by
    which large elements differ. For a row of nothing but -inf both are 0, so that
    `exp(x - top - log_sum)` is 0 and never NaN.
    """
    top = jnp.max(x, axis, keepdims=True, initial=-jnp.inf)
    top = jax.lax.stop_gradient(jnp.where(jnp.isfinite(top), top, 0))
    total = jnp.exp(x - top).sum(axis, keepdims=True)
    return top, jnp.log(jnp.where(total == 0, 1, total))


def probabilities(labels, scores):
    """Labels as probabilities in the shape and dtype of `scores`; NaN out of range."""
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        return labels.astype(scores.dtype)
    labels, known = in_range(labels, scores.shape[-1])
    return jnp.where(known, one_hot(labels, scores).astype(scores.dtype), jnp.nan)


def in_range(labels, classes):
    """Integer labels with an axis for their class, and whether there is one."""
    if jnp.iinfo(labels.dtype).bits < 32:  # uint8 cannot count to 1000 classes
        labels = labels.astype(jnp.int32)
    labels = labels[..., None]
    last = classes - 1
    if isinstance(classes, int):  # more than labels can count to
        last = min(last, int(jnp.iinfo(labels.dtype).max))
    return labels, (labels >= 0) & (labels <= last)


def read(scores, labels):
    """The score of each label, with an axis for its class, that is in range."""
    classes = scores.shape[-1]
    if isinstance(classes, int) and classes > jnp.iinfo(labels.dtype).max:
        # no index is made of them, as JAX would add the size to those below 0
        return jnp.where(one_hot(labels, scores), scores, 0).sum(-1, keepdims=True)
    return jnp.take_along_axis(scores, labels, -1)


def one_hot(labels, scores):
    """Which of the scores each label, with an axis for its class, is about."""
    return labels == jnp.arange(scores.shape[-1], dtype=labels.dtype)


def counted(labels, ignore, weights=None, loss=None):
    """Which examples count; None is all.

    Not those of a label to `ignore`, nor those of weight 0 whose loss is not finite. Others
    of weight 0 are left to the product with it, which has a derivative in the weight.

    Args:
        labels: of shape `(...)`, integers if there is anything in `ignore`.
        ignore: a tuple of ints.
        weights: of shape `(...)`, or None.
        loss: likewise, before it is weighted.
    """
    found = None if weights is None else (weights != 0) | jnp.isfinite(loss)
    if ignore:
        kept = jnp.ones(labels.shape, bool)
        limits = jnp.iinfo(labels.dtype)
        for value in ignore:
            if limits.min <= value <= limits.max:  # else no label is equal to it
                kept &= labels != value
        found = kept if found is None else found & kept
    return found


def weighted(loss, keep, weights):
    """`weights * loss`, and exactly 0 where examples do not count."""
    if weights is not None:
        loss = loss * weights.astype(loss.dtype)
    return loss if keep is None else jnp.where(keep, loss, 0)
