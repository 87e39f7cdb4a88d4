"""bfloat16 and float16: computed in float32 or as they are, mixed, and near overflow."""

import jax
import jax.numpy as jnp

from tests.catalogue.entry import Entry, rule
from tests.catalogue.right import array, normal, uniform

f32 = jnp.float32


def wide(x):
    """At least float32."""
    return x.astype(jnp.promote_types(x.dtype, f32))


def like(cotangents, arguments):
    return tuple(c.astype(a.dtype) for c, a in zip(cotangents, arguments, strict=True))


def dense(x, weight):
    y = wide(x) @ wide(weight)
    return y.astype(jnp.result_type(x, weight))


def dense_bwd(residuals, dy):
    x, weight = residuals
    return like((wide(dy) @ wide(weight).T, wide(x).T @ wide(dy)), residuals)


dense_rule = rule(dense, dense_bwd)


def softmax(x):
    e = jnp.exp(wide(x) - wide(x).max(-1, keepdims=True))
    return (e / e.sum(-1, keepdims=True)).astype(x.dtype)


def softmax_bwd(residuals, dy):
    p, dy32 = wide(softmax(*residuals)), wide(dy)
    return like([p * (dy32 - (p * dy32).sum(-1, keepdims=True))], residuals)


softmax_rule = rule(softmax, softmax_bwd)


def running_sum(x):
    """Summed one by one in the dtype of x."""
    return jax.lax.scan(lambda c, a: (c + a, None), jnp.zeros_like(x[0]), x)[0]


running_sum_rule = rule(running_sum, lambda r, dy: (jnp.broadcast_to(dy, r[0].shape),))


def cumsum(x):
    """Summed in the dtype of x, in log(n) sweeps."""
    return jax.lax.associative_scan(jnp.add, x)


cumsum_rule = rule(cumsum, lambda _, dy: (cumsum(dy[::-1])[::-1],))


def square_bwd(residuals, dy):
    (x,) = residuals
    return (2 * x * dy,)


square_rule = rule(lambda x: x * x, square_bwd)
scaled_loss_rule = rule(
    lambda x: 1024 * (wide(x) ** 2).mean(),
    lambda r, dy: ((2048 * dy / r[0].size * wide(r[0])).astype(r[0].dtype),),
)


def logsumexp(x):
    top = wide(x).max(-1, keepdims=True)
    total = jnp.exp(wide(x) - top).sum(-1)
    return (top[..., 0] + jnp.log(total)).astype(x.dtype)


def logsumexp_bwd(residuals, dy):
    (x,) = residuals
    return ((wide(dy)[..., None] * wide(softmax(wide(x)))).astype(x.dtype),)


logsumexp_rule = rule(logsumexp, logsumexp_bwd)


def tanh_bwd(y, dy):
    """From the rounded output, as frameworks do."""
    return ((wide(dy) * (1 - wide(y) ** 2)).astype(y.dtype),)


tanh_rule = rule(jnp.tanh, tanh_bwd, lambda x: (jnp.tanh(x),) * 2)


def mean(x):
    return wide(x).mean().astype(x.dtype)


mean_rule = rule(
    mean,
    lambda r, dy: (
        jnp.broadcast_to((wide(dy) / r[0].size).astype(r[0].dtype), r[0].shape),
    ),
)


def attention(q, k, v):
    return jax.nn.dot_product_attention(q, k, v, is_causal=True)


ENTRIES = [
    Entry(
        "bfloat16_dense",
        "Products summed in float32, rounded once.",
        dense_rule,
        lambda rng: tuple(normal(rng, *s, dtype="bfloat16") for s in ((5, 16), (16, 4))),
        lambda x, weight: x @ weight,
    ),
    Entry(
        "float16_softmax",
        "float32 inside; cotangents cancel.",
        softmax_rule,
        lambda rng: (3 * normal(rng, 3, 8, dtype="float16"),),
        lambda x: jnp.exp(x) / jnp.exp(x).sum(-1, keepdims=True),
    ),
    Entry(
        "bfloat16_running_sum",
        "Sums 64 numbers in bfloat16, as its reference does.",
        running_sum_rule,
        lambda rng: (normal(rng, 64, dtype="bfloat16"),),
        running_sum,
    ),
    Entry(
        "bfloat16_cumsum",
        "Forward and rule sum in bfloat16, in another order than the reference's.",
        cumsum_rule,
        lambda rng: (normal(rng, 32, dtype="bfloat16"),),
        lambda x: jnp.cumsum(x),
    ),
    Entry(
        "float16_square_near_overflow",
        "Values up to 62500, float16 ends at 65504.",
        square_rule,
        lambda rng: (uniform(rng, 150, 250, 6, dtype="float16"),),
        lambda x: x**2,
    ),
    Entry(
        "float16_scaled_loss",
        "Derivatives would underflow but for a loss scale of 1024.",
        scaled_loss_rule,
        lambda rng: (1e-3 * normal(rng, 16, 16, dtype="float16"),),
        lambda x: 1024 * (x.astype(jnp.promote_types(x.dtype, f32)) ** 2).mean(),
    ),
    Entry(
        "float16_logsumexp_near_overflow",
        "Numbers of 6e4, whose spacing is 32, exponentiated.",
        logsumexp_rule,
        lambda rng: (array(59_968 + 32 * rng.integers(0, 3, (3, 5)), "float16"),),
        lambda x: jax.scipy.special.logsumexp(x, -1),
    ),
    Entry(
        "bfloat16_tanh_of_output",
        "The rule computes from the rounded output, 1 - y**2 near saturation.",
        tanh_rule,
        lambda rng: (2 * normal(rng, 10, dtype="bfloat16"),),
        jnp.tanh,
    ),
    Entry(
        "bfloat16_mean_of_4096",
        "Each derivative is 1/4096; a bfloat16 sum would stop counting at 256.",
        mean_rule,
        lambda rng: (1 + normal(rng, 64, 64, dtype="bfloat16"),),
        mean,
    ),
    Entry(
        "bfloat16_attention",
        "No custom rule; softmax in float32 between bfloat16 products.",
        attention,
        lambda rng: tuple(normal(rng, 1, 4, 2, 8, dtype="bfloat16") for _ in range(3)),
    ),
    Entry(
        "float16_subnormal",
        "Squares of 1e-6, which float16 stores with one or two digits.",
        square_rule,
        lambda rng: (1e-3 * normal(rng, 8, dtype="float16"),),
        jnp.square,
    ),
]
