"""Losses of labels whose logits are a product with a weight, and cotangents.

The logits are made a chunk of the classes at a time, forward and again backward.
`options` are label smoothing, z-loss, the soft cap and the labels that are ignored.
"""

import jax
import jax.numpy as jnp

from funcnn.foundation._dtypes import accumulator, divisor, promote
from funcnn.foundation._products import contract, empty_sum, matrix, rows
from funcnn.kernels._chunks import columns, over_chunks, put
from funcnn.kernels._labels import counted, in_range, one_hot


def losses(options, x, labels, weight, bias):
    """The losses, and of each row the largest logit and what is left of its log-sum-exp."""
    label_smoothing, z_loss, softcap, ignore = options
    classes = weight.shape[-1]
    used, ids, keep, wanted = examples(x, labels, classes, ignore)

    def step(found, first, size):
        w, b = columns((weight, bias), first, size)
        s = logits(used, w, b, softcap)
        return gathered(found, s, ids, first, label_smoothing)

    nothing = empty_sum(ids.shape, x, weight, labels, *present(bias))
    lowest = nothing + jnp.finfo(nothing.dtype).min / 2
    found = over_chunks(step, (lowest, nothing, nothing, nothing), x, classes)
    top, total, at_label, spread = found
    none = total == 0  # no logit but -inf
    top, log_sum = jnp.where(none, 0, top), jnp.log(jnp.where(none, 1, total))
    loss = log_sum - (at_label - top)
    if label_smoothing:
        even = log_sum - spread / divisor(classes)
        loss = (1 - label_smoothing) * loss + label_smoothing * even
    loss = jnp.where(wanted, loss + z_loss * (top + log_sum) ** 2, jnp.nan)
    loss = jnp.where(keep, loss, 0)
    return loss[..., 0], top, log_sum


def cotangents(options, x, labels, top, log_sum, dy, weight, bias):
    """The cotangent of `x`, and those of weight and bias."""
    label_smoothing, z_loss, softcap, ignore = options
    classes, common = weight.shape[-1], promote(x, weight)
    used, ids, keep, wanted = examples(x, labels, classes, ignore)
    dy = jnp.where(keep, dy[..., None], 0)
    pull = 2 * z_loss * (top + log_sum)  # towards a normaliser of 1
    slope = dy * (jnp.where(wanted, 1, jnp.nan) + pull) * jnp.exp(-log_sum)
    # a number a row, or XLA:CPU computes it again for every class
    slope = jax.lax.optimization_barrier(slope)

    def step(found, first, size):
        dx, dweight, dbias = found
        w, b = columns((weight, bias), first, size)
        s = logits(used, w, b, softcap)
        hot = one_hot(counted_from(first, ids), s)
        t = jnp.where(hot, 1 - label_smoothing, 0).astype(s.dtype)
        g = slope * jnp.exp(s - top) - dy * (t + label_smoothing / classes)
        if softcap is not None:
            g = g * (1 - s / softcap) * (1 + s / softcap)
        if bias is not None:
            dbias = put(g.sum(rows(g)), dbias, first)
        g = g.astype(common)
        dx = dx + contract(g, w, (g.ndim - 1,), (1,), dx.dtype)
        dw = contract(matrix(used), matrix(g), (0,), (0,), weight.dtype)
        return dx, put(dw, dweight, first), dbias

    def zeros(a):
        return empty_sum(a.shape, x, weight, labels, dy, *present(bias))

    start = zeros(x), zeros(weight).astype(weight.dtype), jax.tree.map(zeros, bias)
    dx, *totals = over_chunks(step, start, x, classes)
    return dx, totals


def examples(x, labels, classes, ignore):
    """What is read of x, and by row the label, whether it counts, whether it is one."""
    ids, wanted = in_range(labels, classes)
    keep = counted(ids, ignore, None)
    if keep is None:
        return x, ids, True, wanted
    # a padded row may hold anything, and 0 * inf is NaN
    return jnp.where(keep, x, 0), ids, keep, wanted | ~keep


def logits(x, weight, bias, softcap):
    """Those of a chunk of the classes, in at least float32."""
    dtype = accumulator(promote(x, weight, *present(bias)))
    s = contract(x, weight, (x.ndim - 1,), (0,), dtype)
    if bias is not None:
        s = s + bias.astype(dtype)
    return s if softcap is None else softcap * jnp.tanh(s / softcap)


def gathered(found, s, ids, first, label_smoothing):
    """What is known of each row after the logits of one more chunk."""
    top, total, at_label, spread = found
    higher = jax.lax.stop_gradient(jnp.maximum(top, s.max(-1, keepdims=True)))
    total = total * jnp.exp(top - higher) + jnp.exp(s - higher).sum(-1, keepdims=True)
    at = counted_from(first, ids)
    here = (at >= 0) & (at < s.shape[-1])
    read = jnp.take_along_axis(s, jnp.where(here, at, 0), -1)
    at_label = jnp.where(here, read, at_label)
    if label_smoothing:
        seen = jnp.asarray(first, s.dtype)
        spread = spread + seen * (top - higher) + (s - higher).sum(-1, keepdims=True)
    return higher, total, at_label, spread


def counted_from(first, ids):
    """Where in a chunk that starts with the class `first` labels are."""
    return ids - jnp.asarray(first, ids.dtype)


def present(bias):
    """The bias, if there is one, to unpack."""
    return () if bias is None else (bias,)
