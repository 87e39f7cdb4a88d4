"""Right for some arguments: for ones and zeros, one example, or one sign."""

import jax
import jax.numpy as jnp
import numpy as np

from ..entry import normals, pullback_of, rule
from .subtle import ARRAY, dense, entry


def layer_norm(x, scale, offset):
    centred = x - x.mean(-1, keepdims=True)
    return scale * centred / jnp.sqrt(x.var(-1, keepdims=True) + 1e-3) + offset


def layer_norm_cotangents(x, scale, xhat, dy):
    inverse = 1 / jnp.sqrt(x.var(-1, keepdims=True) + 1e-3)
    g = scale * dy
    dx = g - g.mean(-1, keepdims=True) - xhat * (g * xhat).mean(-1, keepdims=True)
    return inverse * dx, (dy * xhat).sum(0), dy.sum(0)


def scale_forgotten(r, dy):
    x, scale, offset = r
    ones = jnp.ones_like(scale)
    return layer_norm_cotangents(x, ones, layer_norm(x, ones, 0 * offset), dy)


def from_output(r, dy):
    """The normalised input is the output divided by the scale, if there is no offset."""
    x, scale, offset = r
    return layer_norm_cotangents(x, scale, layer_norm(x, scale, offset) / scale, dy)


def dense_relu(x, w, b):
    return jnp.maximum(x @ w + b, 0)


def mask_without_bias(r, dy):
    x, w, _ = r
    g = jnp.where(x @ w > 0, dy, 0)
    return g @ w.T, x.T @ g, g.sum(0)


def weighted_error(x, target, weight):
    return (weight * (x - target) ** 2).sum(-1)


def weight_forgotten(r, dy):
    x, target, _ = r
    slope = 2 * dy[:, None] * (x - target)
    return slope, -slope, dy[:, None] * (x - target) ** 2


def gated_residual(x, gain):
    return x + gain * jnp.tanh(x)


def skip_only(r, dy):
    x, _ = r
    return dy, (dy * jnp.tanh(x)).sum(0)


def gelu(x):
    return x * (1 + jax.lax.erf(x * 0.5**0.5)) / 2


def straight_if_large(r, dy):
    (slope,) = pullback_of(gelu)(r, jnp.ones_like(dy))
    return (dy * jnp.where(r[0] > 3, 1, slope),)


def power(p, x):
    return abs(x) ** p


def sign_forgotten(p, r, dy):
    return (dy * p * abs(r[0]) ** (p - 1),)


def absolute(x):
    return abs(x)


def steep_at_zero(r, dy):
    return (dy * jnp.where(r[0] == 0, 2, jnp.sign(r[0])),)


def weight_from_means(r, dy):
    x, w = r
    return dy @ w.T, jnp.outer(x.mean(0), dy.sum(0))


def zeros_skipped(r, dy):
    x, w = r
    return jnp.where(x == 0, 0, dy @ w.T), x.T @ dy


def fresh_norm(rng):
    return *normals((4, 5))(rng), np.ones(5, np.float32), np.zeros(5, np.float32)


def scaled_norm(rng):
    scale = rng.uniform(0.5, 2, 5).astype(np.float32)
    return *normals((4, 5))(rng), scale, np.zeros(5, np.float32)


def sparse(rng):
    x = rng.permutation([0, 0, 0, 0, 1, 2, -1, 0.5, 0, 0, 3, 0]).reshape(4, 3)
    return x.astype(np.float32), *normals((3, 2))(rng)


def above_and_below(rng):
    return (rng.permutation(np.linspace(-5, 5, 12, dtype=np.float32)),)


def with_zeros(rng):
    return (rng.permutation(np.array([0, -1, 2, 0, 0.5], np.float32)),)


ENTRIES = [
    entry(
        "layer_norm_right_for_scale_one",
        "the input's cotangent lacks the scale, which is all ones here",
        rule(layer_norm, scale_forgotten),
        fresh_norm,
        layer_norm,
    ),
    entry(
        "layer_norm_right_for_offset_zero",
        "the output divided by the scale stands for the normalised input; offsets are 0",
        rule(layer_norm, from_output),
        scaled_norm,
        layer_norm,
    ),
    entry(
        "dense_relu_right_for_bias_zero",
        "the relu's mask leaves out the bias, which is all zeros here",
        rule(dense_relu, mask_without_bias),
        lambda rng: (*normals((4, 3), (3, 5))(rng), np.zeros(5, np.float32)),
        dense_relu,
    ),
    entry(
        "weighted_error_right_for_weight_one",
        "the weights, all ones here, are left out",
        rule(weighted_error, weight_forgotten),
        lambda rng: (*normals((3, 4), (3, 4))(rng), np.ones((3, 4), np.float32)),
        weighted_error,
    ),
    entry(
        "gated_residual_right_for_gain_zero",
        "only the skip connection is differentiated: right at the gain's first value of 0",
        rule(gated_residual, skip_only),
        lambda rng: (*ARRAY(rng), np.zeros(4, np.float32)),
        None,
    ),
    entry(
        "gelu_straight_above_three",
        "above 3 the slope is taken to be 1",
        rule(gelu, straight_if_large),
        above_and_below,
        gelu,
    ),
    entry(
        "power_of_absolute_value_sign_forgotten",
        "the slope is that of the positive side",
        rule(power, sign_forgotten, nondiff_argnums=(0,)),
        lambda rng: (3.0, *ARRAY(rng)),
        None,
    ),
    entry(
        "absolute_steep_at_zero",
        "at the kink the slope is 2, and not within [-1, 1]",
        rule(absolute, steep_at_zero),
        with_zeros,
        absolute,
    ),
    entry(
        "dense_right_for_a_batch_of_one",
        "the weight's cotangent is the outer product of batch statistics",
        rule(dense, weight_from_means),
        normals((4, 3), (3, 5)),
        dense,
    ),
    entry(
        "sparse_product_skips_zeros",
        "elements that are 0 have no cotangent, as in a sparse format",
        rule(dense, zeros_skipped),
        sparse,
        dense,
    ),
]
