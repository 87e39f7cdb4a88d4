"""Elementwise functions, and the gated ones that are nearly so."""

import jax
import jax.numpy as jnp
import numpy as np

from ..entry import Entry, normals, pullback_of, rule


def sloped(primal, slope):
    """A function of one array whose cotangent is `dy * slope(x)`."""
    return rule(primal, lambda r, dy: (dy * slope(*r),))


def gelu(x):
    return x * (1 + jax.lax.erf(x * 0.5**0.5)) / 2


def gelu_tanh(x):
    return x * (1 + jnp.tanh(0.7978845608028654 * (x + 0.044715 * x**3))) / 2


def silu(x):
    return x / (1 + jnp.exp(-x))


def elu(alpha, x):
    return jnp.where(x > 0, x, alpha * jnp.expm1(x))


def elu_without_alpha(alpha, r, dy):
    return (dy * jnp.where(r[0] > 0, 1, jnp.exp(r[0])),)


def prelu(x, slope):
    return jnp.where(x > 0, x, slope * x)


def side_from_output(r, dy):
    x, slope = r
    negative = prelu(x, slope) <= 0  # not so where the slope is negative
    dx = dy * jnp.where(negative, slope, 1)
    return dx, jnp.where(negative, dy * x, 0).sum(0)


def softplus(beta, x):
    return jnp.log1p(jnp.exp(beta * x)) / beta


def slope_divided_by_beta(beta, r, dy):
    return (dy * jax.nn.sigmoid(beta * r[0]) / beta,)


def hard_swish(x):
    return x * jnp.clip(x / 6 + 0.5, 0, 1)


def flat_above(x):
    return jnp.where(abs(x) < 3, x / 3 + 0.5, 0)


def glu(x):
    a, b = jnp.split(x, 2, axis=-1)
    return a * jax.nn.sigmoid(b)


def halves_swapped(r, dy):
    (dx,) = pullback_of(glu)(r, dy)
    a, b = jnp.split(dx, 2, axis=-1)
    return (jnp.concatenate([b, a], axis=-1),)


def concatenated_relu(x):
    return jnp.concatenate([jnp.maximum(x, 0), jnp.maximum(-x, 0)], axis=-1)


def negative_part_added(r, dy):
    (x,) = r
    up, down = jnp.split(dy, 2, axis=-1)
    return (jnp.where(x > 0, up, down),)


def swish(x, beta):
    return x * jax.nn.sigmoid(beta * x)


def beta_averaged(r, dy):
    dx, dbeta = pullback_of(swish)(r, dy)
    return dx, dbeta / len(dx)


def log_sigmoid(x):
    return -jnp.log1p(jnp.exp(-x))


def mish(x):
    return x * jnp.tanh(jnp.log1p(jnp.exp(x)))


def mish_not_chained(x):
    t = jnp.tanh(jnp.log1p(jnp.exp(x)))
    return t + x * (1 - t**2)


def snake(x, a):
    return x + jnp.sin(a * x) ** 2 / a


def quotient_forgotten(r, dy):
    x, a = r
    dx = dy * (1 + jnp.sin(2 * a * x))
    return dx, (dy * x * jnp.sin(2 * a * x) / a).sum(0)


def quantise(x):
    return jnp.round(4 * x) / 4


def softmax(x):
    return jnp.exp(x - jax.nn.logsumexp(x, axis=-1, keepdims=True))


def straight_through(r, dy):
    return (dy,)


def maxout(x):
    return x.max(-1)


def every_piece(r, dy):
    return (jnp.broadcast_to(dy[..., None], r[0].shape),)


ARRAY = normals((3, 4))


def wide(rng):
    return (rng.permutation(np.linspace(-9, 8.5, 20, dtype=np.float32)).reshape(4, 5),)


def negative_slopes(rng):
    slope = np.array([0.2, -0.3, 0.1, -0.2], np.float32)
    return rng.standard_normal((5, 4), np.float32), slope


ENTRIES = [
    Entry(
        "gelu_slope_of_the_approximation",
        "the forward pass is exact, the slope that of the tanh approximation",
        rule(gelu, pullback_of(gelu_tanh)),
        ARRAY,
        gelu,
    ),
    Entry(
        "silu_slope_is_the_sigmoid",
        "the product rule's second term is missing",
        sloped(silu, jax.nn.sigmoid),
        ARRAY,
        silu,
    ),
    Entry(
        "elu_slope_without_alpha",
        "the negative side's slope lacks alpha",
        rule(elu, elu_without_alpha, nondiff_argnums=(0,)),
        lambda rng: (0.5, *ARRAY(rng)),
        elu,
    ),
    Entry(
        "prelu_side_from_the_output",
        "the side is read off the output's sign, wrong where the slope is negative",
        rule(prelu, side_from_output),
        negative_slopes,
        prelu,
    ),
    Entry(
        "tanh_slope_from_the_input",
        "1 - x**2 with the input where the output belongs",
        sloped(jnp.tanh, lambda x: 1 - x**2),
        ARRAY,
        jnp.tanh,
    ),
    Entry(
        "softplus_slope_divided_by_beta",
        "the chain rule's beta does not cancel the outer 1 / beta",
        rule(softplus, slope_divided_by_beta, nondiff_argnums=(0,)),
        lambda rng: (2.0, *ARRAY(rng)),
        softplus,
    ),
    Entry(
        "hard_swish_flat_above_three",
        "above 3, where it is the identity, the slope is 0",
        sloped(hard_swish, flat_above),
        wide,
        hard_swish,
    ),
    Entry(
        "relu6_not_saturated",
        "above 6 the slope is 1",
        sloped(lambda x: jnp.clip(x, 0, 6), lambda x: jnp.where(x > 0, 1.0, 0.0)),
        wide,
    ),
    Entry("glu_halves_swapped", "value and gate", rule(glu, halves_swapped), ARRAY, glu),
    Entry(
        "concatenated_relu_sign",
        "the negative part's cotangent is added, not subtracted",
        rule(concatenated_relu, negative_part_added),
        ARRAY,
        concatenated_relu,
    ),
    Entry(
        "swish_beta_averaged",
        "the scalar parameter's cotangent is averaged over rows",
        rule(swish, beta_averaged),
        normals((3, 4), ()),
        swish,
    ),
    Entry(
        "log_sigmoid_slope_mirrored",
        "the slope is sigmoid(x), not sigmoid(-x)",
        sloped(log_sigmoid, jax.nn.sigmoid),
        ARRAY,
        log_sigmoid,
    ),
    Entry(
        "mish_softplus_not_chained",
        "the inner softplus's slope is missing",
        sloped(mish, mish_not_chained),
        ARRAY,
        mish,
    ),
    Entry(
        "snake_frequency_quotient_forgotten",
        "the frequency's cotangent leaves out that it also divides",
        rule(snake, quotient_forgotten),
        lambda rng: (*ARRAY(rng), rng.uniform(0.5, 2, 4).astype(np.float32)),
    ),
    Entry(
        "quantise_straight_through",
        "rounding has slope 0 and passes the cotangent on",
        rule(quantise, straight_through),
        ARRAY,
        quantise,
    ),
    Entry(
        "softmax_slope_of_a_sigmoid",
        "the slope is p (1 - p), as if elements were independent",
        sloped(softmax, lambda x: softmax(x) * (1 - softmax(x))),
        ARRAY,
        softmax,
    ),
    Entry(
        "maxout_every_piece",
        "all pieces get the cotangent of the largest",
        rule(maxout, every_piece),
        normals((3, 4, 2)),
        maxout,
    ),
]
