"""Normalisations and their scales and offsets."""

import jax.numpy as jnp

from ..entry import Entry, normals, pullback_of, rule

EPS = 1e-3


def standardise(x, axis, ddof=0, eps=EPS):
    centred = x - x.mean(axis, keepdims=True)
    return centred / jnp.sqrt(x.var(axis, keepdims=True, ddof=ddof) + eps)


def layer_norm(x, scale, offset):
    return scale * standardise(x, -1) + offset


def layer_rule(dx):
    """A layer norm with the right cotangents for scale and offset, and this one for x."""

    def bwd(r, dy):
        x, scale, _ = r
        xhat = standardise(x, -1)
        inverse = 1 / jnp.sqrt(x.var(-1, keepdims=True) + EPS)
        return dx(xhat, inverse, scale, dy), (dy * xhat).sum(0), dy.sum(0)

    return rule(layer_norm, bwd)


def mean(a):
    return a.mean(-1, keepdims=True)


def without_mean(xhat, inverse, scale, dy):
    g = scale * dy
    return inverse * (g - xhat * mean(g * xhat))


def without_variance(xhat, inverse, scale, dy):
    g = scale * dy
    return inverse * (g - mean(g))


def scale_outside(xhat, inverse, scale, dy):
    return scale * inverse * (dy - mean(dy) - xhat * mean(dy * xhat))


def layer_norm_unbiased(x, scale, offset):
    return scale * standardise(x, -1, ddof=1) + offset


def layer_norm_eps_outside(x, scale, offset):
    centred = x - mean(x)
    return scale * centred / (jnp.sqrt(mean(centred**2)) + EPS) + offset


def layer_norm_other_axis(x, scale, offset):
    return scale * standardise(x, 0) + offset


def rms_norm(x, scale):
    return scale * x / jnp.sqrt(mean(x**2) + EPS)


def rms_norm_centred(x, scale):
    return scale * (x - mean(x)) / jnp.sqrt(mean((x - mean(x)) ** 2) + EPS)


def batch_norm(x, scale, offset):
    return scale * standardise(x, 0) + offset


def statistics_constant(r, dy):
    x, scale, _ = r
    xhat = standardise(x, 0)
    return scale * dy / jnp.sqrt(x.var(0) + EPS), (dy * xhat).sum(0), dy.sum(0)


def scale_from_raw_input(r, dy):
    x, _, _ = r
    dx, _, doffset = pullback_of(batch_norm)(r, dy)
    return dx, (dy * x).sum(0), doffset


def batch_norm_with_statistics(x):
    return standardise(x, 0), x.mean(0), x.var(0)


def variance_cotangent_ignored(r, dys):
    dy, dmean, dvar = dys
    return pullback_of(batch_norm_with_statistics)(r, (dy, dmean, 0 * dvar))


def group_norm(x, scale):
    """Channels in two groups: x is (batch, width, channels)."""
    b, w, c = x.shape
    grouped = standardise(x.reshape(b, w, 2, c // 2), (1, 3))
    return scale * grouped.reshape(x.shape)


def scale_summed_over_group(r, dy):
    dx, dscale = pullback_of(group_norm)(r, dy)
    groups = dscale.reshape(2, -1).sum(1)
    return dx, jnp.repeat(groups, len(dscale) // 2)


def instance_norm(x):
    return standardise(x, 1)


def instances_pooled(x):
    return standardise(x, (0, 1))


def unit_length(x):
    return x / jnp.linalg.norm(x)


def projection_forgets_cotangent(x, dy):
    y = unit_length(x)
    return ((dy - y) / jnp.linalg.norm(x),)


ROWS = normals((4, 5), (5,), (5,))

ENTRIES = [
    Entry(
        "layer_norm_mean_term_missing",
        "the input's cotangent keeps its mean",
        layer_rule(without_mean),
        ROWS,
        layer_norm,
    ),
    Entry(
        "layer_norm_variance_constant",
        "the variance is taken to be a constant",
        layer_rule(without_variance),
        ROWS,
        layer_norm,
    ),
    Entry(
        "layer_norm_scale_after_the_projection",
        "the scale multiplies the input's cotangent after the projection, not before",
        layer_rule(scale_outside),
        ROWS,
        layer_norm,
    ),
    Entry(
        "layer_norm_unbiased_variance_backward",
        "the backward pass divides the variance by d - 1",
        rule(layer_norm, pullback_of(layer_norm_unbiased)),
        ROWS,
        layer_norm,
    ),
    Entry(
        "layer_norm_eps_outside_the_root_backward",
        "the backward pass adds eps to the standard deviation, not to the variance",
        rule(layer_norm, pullback_of(layer_norm_eps_outside)),
        ROWS,
        layer_norm,
    ),
    Entry(
        "layer_norm_statistics_of_columns_backward",
        "the backward pass takes its means over the batch: right in shape if square",
        rule(layer_norm, pullback_of(layer_norm_other_axis)),
        normals((4, 4), (4,), (4,)),
        layer_norm,
    ),
    Entry(
        "rms_norm_centred_backward",
        "the backward pass is that of a layer norm",
        rule(rms_norm, pullback_of(rms_norm_centred)),
        normals((4, 5), (5,)),
        rms_norm,
    ),
    Entry(
        "batch_norm_statistics_constant",
        "training mode has the backward pass of evaluation mode",
        rule(batch_norm, statistics_constant),
        ROWS,
        batch_norm,
    ),
    Entry(
        "batch_norm_scale_from_raw_input",
        "the scale's cotangent is taken with the input before it is normalised",
        rule(batch_norm, scale_from_raw_input),
        ROWS,
        batch_norm,
    ),
    Entry(
        "batch_norm_ignores_the_variance_output",
        "of three outputs, the variance's cotangent is ignored",
        rule(batch_norm_with_statistics, variance_cotangent_ignored),
        normals((4, 5)),
        batch_norm_with_statistics,
    ),
    Entry(
        "group_norm_scale_shared_by_group",
        "a channel's scale gets the cotangent of its whole group",
        rule(group_norm, scale_summed_over_group),
        normals((2, 3, 4), (4,)),
        group_norm,
    ),
    Entry(
        "instance_norm_pools_the_batch_backward",
        "the backward pass takes its statistics over all instances",
        rule(instance_norm, pullback_of(instances_pooled)),
        normals((3, 4, 2)),
        instance_norm,
    ),
    Entry(
        "unit_length_projection_forgets_the_cotangent",
        "the projection subtracts y where it should subtract y (y . dy)",
        rule(unit_length, lambda r, dy: projection_forgets_cotangent(*r, dy)),
        normals((3,)),
    ),
]
