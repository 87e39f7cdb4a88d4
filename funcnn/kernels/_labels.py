"""Classes: integer labels beside scores, and the log-sum-exp of the scores."""

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
    with jax.numpy_dtype_promotion("standard"):  # uint8 cannot count to 1000 classes
        labels = labels.astype(jnp.promote_types(labels.dtype, jnp.int32))[..., None]
    return labels, (labels >= 0) & (labels < classes)


def one_hot(labels, scores):
    """Which of the scores each label, with an axis for its class, is about."""
    return labels == jnp.arange(scores.shape[-1], dtype=labels.dtype)
