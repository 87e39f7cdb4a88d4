"""jax.nn as it is: its functions have custom_jvp rules, custom_vjp ones or none."""

from functools import partial

import jax
import jax.numpy as jnp

from tests.catalogue.entry import Entry
from tests.catalogue.right import array, grid, labels, normal, uniform

nn = jax.nn


def one_hot_loss(logits, ids):
    return -(nn.one_hot(ids, logits.shape[-1]) * nn.log_softmax(logits)).sum(-1)


def masked_attention(q, k, v, bias, mask):
    return nn.dot_product_attention(q, k, v, bias, mask, scale=0.5)


def attention_args(rng):
    mask = rng.random((1, 2, 4, 5)) < 0.7
    mask[..., 0] = True
    q, k, v = (normal(rng, 1, n, 2, 3) for n in (4, 5, 5))
    return q, k, v, normal(rng, 1, 2, 4, 5), mask


ENTRIES = [
    Entry(
        "nn_relu",
        "Zeros, ones and minus ones.",
        nn.relu,
        lambda rng: (grid(rng, -1, 1, 9),),
    ),
    Entry(
        "nn_relu6", "Both kinks are hit.", nn.relu6, lambda rng: (3 * grid(rng, -1, 3, 9),)
    ),
    Entry(
        "nn_gelu_tanh",
        "The approximation, in bfloat16.",
        nn.gelu,
        lambda rng: (2 * normal(rng, 9, dtype="bfloat16"),),
    ),
    Entry(
        "nn_gelu_exact",
        "By the error function.",
        partial(nn.gelu, approximate=False),
        lambda rng: (2 * normal(rng, 9),),
        lambda x: x * jax.scipy.special.ndtr(x),
    ),
    Entry(
        "nn_silu",
        "In float16.",
        nn.silu,
        lambda rng: (3 * normal(rng, 9, dtype="float16"),),
        lambda x: x / (1 + jnp.exp(-x)),
    ),
    Entry(
        "nn_softplus",
        "Hundreds to either side of 0, among numbers near it.",
        nn.softplus,
        lambda rng: (array([0.5, -2, *100 * rng.standard_normal(7)]),),
    ),
    Entry("nn_selu", "A kink at 0, not hit.", nn.selu, lambda rng: (normal(rng, 9),)),
    Entry(
        "nn_celu",
        "A static alpha.",
        nn.celu,
        lambda rng: (2 * normal(rng, 9), 2.0),
        lambda x, alpha: jnp.where(x > 0, x, alpha * (jnp.exp(x / alpha) - 1)),
    ),
    Entry(
        "nn_elu_at_0",
        "Every other element is 0.",
        nn.elu,
        lambda rng: (grid(rng, -1, 0, 8),),
    ),
    Entry(
        "nn_glu",
        "Halves of an axis gate each other.",
        nn.glu,
        lambda rng: (normal(rng, 3, 6),),
        lambda x: x[:, :3] / (1 + jnp.exp(-x[:, 3:])),
    ),
    Entry(
        "nn_log_softmax",
        "The first axis, in bfloat16.",
        partial(nn.log_softmax, axis=0),
        lambda rng: (3 * normal(rng, 5, 2, dtype="bfloat16"),),
    ),
    Entry(
        "nn_softmax",
        "A custom_jvp rule that uses the output.",
        nn.softmax,
        lambda rng: (3 * normal(rng, 3, 5),),
        lambda x: jnp.exp(x) / jnp.exp(x).sum(-1, keepdims=True),
    ),
    Entry(
        "nn_softmax_float16_near_overflow",
        "Logits of 6e4.",
        nn.softmax,
        lambda rng: (array(59_968 + 32 * rng.integers(0, 3, (3, 5)), "float16"),),
    ),
    Entry(
        "nn_logsumexp",
        "Infinite elements among others.",
        partial(nn.logsumexp, axis=-1),
        lambda rng: (array([[-jnp.inf, *rng.standard_normal(4)]] * 2),),
    ),
    Entry(
        "nn_standardize",
        "No custom rule.",
        nn.standardize,
        lambda rng: (2 * normal(rng, 3, 8, dtype="bfloat16"),),
    ),
    Entry(
        "nn_attention",
        "A mask of booleans, a bias with a cotangent, and more keys than queries.",
        masked_attention,
        attention_args,
    ),
    Entry(
        "nn_one_hot_loss",
        "one_hot makes float32 whatever the logits are.",
        one_hot_loss,
        lambda rng: (2 * normal(rng, 4, 6, dtype="float16"), labels(rng, 6, 4)),
        lambda x, ids: nn.logsumexp(x, -1) - jnp.take_along_axis(x, ids[:, None], 1)[:, 0],
    ),
    Entry(
        "nn_hard_tanh",
        "Kinks at -1 and 1.",
        nn.hard_tanh,
        lambda rng: (grid(rng, -2, 2, 9),),
    ),
    Entry(
        "nn_hard_swish",
        "Kinks at -3 and 3, with a product of two kinked functions.",
        nn.hard_swish,
        lambda rng: (grid(rng, -4, 4, 12),),
    ),
    Entry(
        "nn_squareplus",
        "A root, with a static offset.",
        nn.squareplus,
        lambda rng: (3 * normal(rng, 9), 4),
        lambda x, b: (x + jnp.sqrt(x**2 + b)) / 2,
    ),
    Entry(
        "nn_mish",
        "A composition of three.",
        nn.mish,
        lambda rng: (2 * normal(rng, 9, dtype="bfloat16"),),
        lambda x: x * jnp.tanh(jnp.log1p(jnp.exp(x))),
    ),
    Entry(
        "nn_sparse_plus",
        "Piecewise quadratic, its derivative has kinks at -1 and 1.",
        nn.sparse_plus,
        lambda rng: (grid(rng, -2, 2, 9),),
    ),
    Entry(
        "nn_log_sigmoid",
        "Far in the left tail the derivative is 1.",
        nn.log_sigmoid,
        lambda rng: (uniform(rng, -100, 10, 9),),
    ),
    Entry(
        "nn_leaky_relu",
        "A static slope.",
        nn.leaky_relu,
        lambda rng: (normal(rng, 9, dtype="float16"), 0.2),
    ),
]
