"""Arguments of several dtypes, integers of 8 bits among them."""

import jax
import jax.numpy as jnp

from tests.catalogue.entry import Entry, rule
from tests.catalogue.right import array, normal, uniform
from tests.catalogue.right.low_precision import dense_rule, like, wide


def rms_norm(x, scale):
    xf = wide(x)
    r = jax.lax.rsqrt((xf**2).mean(-1, keepdims=True) + 1e-6)
    return (xf * r * wide(scale)).astype(x.dtype)


def rms_norm_bwd(residuals, dy):
    x, scale = residuals
    xf, dyf = wide(x), wide(dy)
    r = jax.lax.rsqrt((xf**2).mean(-1, keepdims=True) + 1e-6)
    xhat, g = xf * r, dyf * wide(scale)
    dx = r * (g - xhat * (xhat * g).mean(-1, keepdims=True))
    return like((dx, (dyf * xhat).sum(0)), residuals)


rms_norm_rule = rule(rms_norm, rms_norm_bwd)


def add_bias(x, bias):
    return x + bias


add_bias_rule = rule(add_bias, lambda r, dy: like((dy, dy.sum(0)), r))


def dequantize(x, quantized, scale):
    """Weights stored as 8-bit integers."""
    return (wide(x) @ (wide(quantized) * wide(scale))).astype(x.dtype)


def dequantize_bwd(residuals, dy):
    x, quantized, scale = residuals
    q, dyf = wide(quantized), wide(dy)
    dx = (dyf * wide(scale)) @ q.T
    dscale = ((wide(x) @ q) * dyf).sum(0)
    return dx.astype(x.dtype), None, dscale.astype(scale.dtype)


dequantize_rule = rule(dequantize, dequantize_bwd)


def blend(a, b, share):
    """Three dtypes in, the widest out."""
    return share * a + (1 - share) * b


def blend_bwd(residuals, dy):
    a, b, share = residuals
    return like((share * dy, (1 - share) * dy, (a - b) * dy), residuals)


blend_rule = rule(blend, blend_bwd)


def swish_layer(params, x):
    """Weights in bfloat16, statistics and bias in float32."""
    h = dense_rule(x, params["weight"]) + params["bias"].astype(x.dtype)
    return jax.nn.silu(rms_norm_rule(h, params["scale"]))


def swish_args(rng):
    params = {
        "weight": normal(rng, 8, 6, dtype="bfloat16"),
        "bias": normal(rng, 6),
        "scale": uniform(rng, 0.5, 2, 6),
    }
    return params, normal(rng, 4, 8, dtype="bfloat16")


ENTRIES = [
    Entry(
        "bfloat16_rms_norm_float32_scale",
        "Mixed dtypes: the scale and its cotangent are float32.",
        rms_norm_rule,
        lambda rng: (normal(rng, 4, 8, dtype="bfloat16"), uniform(rng, 0.5, 2, 8)),
        lambda x, scale: scale * x / jnp.sqrt(jnp.square(x).mean(-1)[:, None] + 1e-6),
    ),
    Entry(
        "float16_plus_float32_bias",
        "The output is float32, the cotangent of x is rounded to float16.",
        add_bias_rule,
        lambda rng: (normal(rng, 6, 4, dtype="float16"), normal(rng, 4)),
        add_bias,
    ),
    Entry(
        "int8_weights",
        "Quantized weights are integers and take no cotangent; their scale does.",
        dequantize_rule,
        lambda rng: (
            normal(rng, 4, 8, dtype="bfloat16"),
            array(rng.integers(-127, 128, (8, 3)), "int8"),
            array(rng.uniform(0.01, 0.1, 3), "bfloat16"),
        ),
        lambda x, quantized, scale: x @ (scale * quantized.astype(scale.dtype)),
    ),
    Entry(
        "three_dtypes",
        "bfloat16, float32 and float16 in one product.",
        blend_rule,
        lambda rng: (
            normal(rng, 5, dtype="bfloat16"),
            normal(rng, 5),
            uniform(rng, 0, 1, 5, dtype="float16"),
        ),
        blend,
    ),
    Entry(
        "bfloat16_layer",
        "Three rules and jax.nn.silu composed, over a dict of two dtypes.",
        swish_layer,
        swish_args,
    ),
]
