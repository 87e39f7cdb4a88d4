"""Normalising layers, with rules from the textbook."""

import jax
import jax.numpy as jnp

from tests.catalogue.entry import Entry, rule
from tests.catalogue.right import normal


def mean(x):
    return x.mean(-1, keepdims=True)


def layer_norm(x, scale, offset):
    return scale * (x - mean(x)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-5) + offset


def layer_norm_fwd(x, scale, offset):
    r = jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-5)
    xhat = (x - mean(x)) * r
    return scale * xhat + offset, (xhat, r, scale)


def layer_norm_bwd(residuals, dy):
    xhat, r, scale = residuals
    g, d = dy * scale, dy.shape[-1]
    total, along = g.sum(-1, keepdims=True), (g * xhat).sum(-1, keepdims=True)
    return r / d * (d * g - total - xhat * along), (dy * xhat).sum(0), dy.sum(0)


layer_norm_rule = rule(layer_norm, layer_norm_bwd, layer_norm_fwd)


def layer_norm_reference(x, scale, offset):
    centred = x - x.sum(-1, keepdims=True) / x.shape[-1]
    return scale * centred / jnp.sqrt(mean(centred**2) + 1e-5) + offset


def rms_norm(x, scale):
    return scale * x * jax.lax.rsqrt(mean(x**2) + 1e-5)


def rms_norm_bwd(residuals, dy):
    x, scale = residuals
    r = jax.lax.rsqrt(mean(x**2) + 1e-5)
    g = dy * scale
    return r * g - x * r**3 * mean(g * x), (dy * x * r).sum(0)


rms_norm_rule = rule(rms_norm, rms_norm_bwd)


def group_norm(x, scale):
    """Two groups of channels."""
    groups = x.reshape(len(x), 2, -1)
    return scale * jax.nn.standardize(groups, epsilon=1e-5).reshape(x.shape)


def group_norm_bwd(residuals, dy):
    x, scale = residuals
    groups, g = (a.reshape(len(x), 2, -1) for a in (x, dy * scale))
    r = 1 / jnp.sqrt(groups.var(-1, keepdims=True) + 1e-5)
    xhat = (groups - mean(groups)) * r
    dx = (g - mean(g) - xhat * mean(xhat * g)) * r
    return dx.reshape(x.shape), (dy * xhat.reshape(x.shape)).sum(0)


group_norm_rule = rule(group_norm, group_norm_bwd)


def group_norm_reference(x, scale):
    halves = jnp.split(x, 2, -1)
    parts = [(h - mean(h)) / jnp.sqrt(mean((h - mean(h)) ** 2) + 1e-5) for h in halves]
    return jnp.concatenate(parts, -1) * scale


def batch_norm(x, scale, offset):
    """The output and the statistics that a running average takes."""
    mu, var = x.mean(0), x.var(0)
    return scale * (x - mu) / jnp.sqrt(var + 1e-5) + offset, {"mean": mu, "var": var}


def batch_norm_bwd(residuals, dys):
    x, scale, _ = residuals
    dy, dstats = dys
    n, centred = len(x), x - x.mean(0)
    r = jax.lax.rsqrt((centred**2).mean(0) + 1e-5)
    dvar = dstats["var"] - scale * r**3 * (dy * centred).sum(0) / 2
    dmean = dstats["mean"] - scale * r * dy.sum(0)
    dx = scale * r * dy + (2 * dvar * centred + dmean) / n
    return dx, (dy * centred).sum(0) * r, dy.sum(0)


batch_norm_rule = rule(batch_norm, batch_norm_bwd)

ENTRIES = [
    Entry(
        "layer_norm",
        "Sums in the rule where the textbook has means.",
        layer_norm_rule,
        lambda rng: (1 + 2 * normal(rng, 4, 6), normal(rng, 6), normal(rng, 6)),
        layer_norm_reference,
    ),
    Entry(
        "layer_norm_of_constant_rows",
        "The variance is 0, which leaves the offset and cotangents of 300.",
        layer_norm_rule,
        lambda rng: (normal(rng, 3, 1).repeat(4, 1), normal(rng, 4), normal(rng, 4)),
        layer_norm_reference,
    ),
    Entry(
        "rms_norm",
        "The cube of a reciprocal root.",
        rms_norm_rule,
        lambda rng: (normal(rng, 4, 6), normal(rng, 6)),
        lambda x, scale: scale * x / jnp.sqrt(mean(x**2) + 1e-5),
    ),
    Entry(
        "group_norm",
        "Reshapes in function and rule.",
        group_norm_rule,
        lambda rng: (normal(rng, 3, 8), normal(rng, 8)),
        group_norm_reference,
    ),
    Entry(
        "batch_norm_with_statistics",
        "Mean and variance are outputs too and send cotangents back.",
        batch_norm_rule,
        lambda rng: (2 + normal(rng, 6, 3), normal(rng, 3), normal(rng, 3)),
        batch_norm,
    ),
]
