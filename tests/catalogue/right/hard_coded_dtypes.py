"""Functions that name a dtype: float32 or bfloat16 whatever comes in."""

import jax
import jax.numpy as jnp
import numpy as np

from tests.catalogue.entry import Entry, rule
from tests.catalogue.right import labels, normal

f32 = jnp.float32


def loss_in_float32(logits, ids):
    """float32 whatever the logits are."""
    x = logits.astype(f32)
    return jax.nn.logsumexp(x, -1) - jnp.take_along_axis(x, ids[:, None], -1)[:, 0]


def loss_in_float32_bwd(residuals, dy):
    logits, ids = residuals
    p = jax.nn.softmax(logits.astype(f32)) - jax.nn.one_hot(
        ids, logits.shape[-1], dtype=f32
    )
    return (dy[:, None] * p).astype(logits.dtype), None


loss_in_float32_rule = rule(loss_in_float32, loss_in_float32_bwd)


def gelu_in_float32(x):
    return jax.nn.gelu(x.astype(f32), approximate=False).astype(x.dtype)


def gelu_in_float32_bwd(residuals, dy):
    (x,) = residuals
    xf = x.astype(f32)
    density = jnp.exp(-(xf**2) / 2) / jnp.sqrt(f32(2 * np.pi))
    slope = jax.scipy.stats.norm.cdf(xf) + xf * density
    return ((dy.astype(f32) * slope).astype(x.dtype),)


gelu_in_float32_rule = rule(gelu_in_float32, gelu_in_float32_bwd)


def float32_throughout(x, weight):
    """A function of float32 alone, as many are."""
    return jnp.tanh(jnp.matmul(x, weight, preferred_element_type=f32)).astype(f32)


def master_weights(x, weight):
    """float32 in and out, products of bfloat16 numbers between."""
    a, b = x.astype(jnp.bfloat16), weight.astype(jnp.bfloat16)
    return jnp.matmul(a, b, preferred_element_type=f32)


ENTRIES = [
    Entry(
        "float32_loss_of_bfloat16_logits",
        "A hard-coded float32: the output is float32 whatever comes in.",
        loss_in_float32_rule,
        lambda rng: (2 * normal(rng, 4, 6, dtype="bfloat16"), labels(rng, 6, 4)),
        loss_in_float32,
    ),
    Entry(
        "float32_inside_gelu",
        "A hard-coded float32 inside: in float64 it is right to seven digits.",
        gelu_in_float32_rule,
        lambda rng: (2 * normal(rng, 10, dtype="float16"),),
        gelu_in_float32,
    ),
    Entry(
        "float32_inside_gelu_against_exact",
        "The same against a reference in full precision.",
        gelu_in_float32_rule,
        lambda rng: (2 * normal(rng, 10),),
        lambda x: x * jax.scipy.stats.norm.cdf(x),
    ),
    Entry(
        "float32_throughout",
        "No custom rule; the output is float32 even for float64 arguments.",
        float32_throughout,
        lambda rng: (normal(rng, 3, 4), normal(rng, 4, 5)),
    ),
    Entry(
        "bfloat16_products_of_float32",
        "No custom rule; values are stairs of height 1/256 in its float32 arguments.",
        master_weights,
        lambda rng: (normal(rng, 4, 8), normal(rng, 8, 3)),
    ),
]
