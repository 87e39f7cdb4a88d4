"""Numbers that overflow, cancel, or divide by 0 in the backward pass only."""

import jax
import jax.numpy as jnp
import numpy as np

from ..entry import normals
from .precision import entry


def sigmoid(x):
    return jax.lax.logistic(x)


def exponential_overflows(r, dy):
    e = jnp.exp(r[0])
    return (dy * e / (1 + e) ** 2,)


def logsumexp(x):
    top = jax.lax.stop_gradient(x.max(-1, keepdims=True))
    return jnp.log(jnp.exp(x - top).sum(-1)) + top[..., 0]


def not_shifted(r, dy):
    e = jnp.exp(r[0])
    return (dy[:, None] * e / e.sum(-1, keepdims=True),)


def safe_norm(x):
    squares = (x**2).sum(-1)
    return jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)


def divided_by_zero_norm(r, dy):
    (x,) = r
    return (dy[:, None] * x / jnp.linalg.norm(x, axis=-1, keepdims=True),)


def positive_root(x):
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), 0)


def masked_by_multiplying(r, dy):
    (x,) = r
    return (dy * (x > 0).astype(x.dtype) / (2 * jnp.sqrt(x)),)


def masked_entropy(x, mask):
    low = jnp.where(mask, x, -1e30)
    log_p = low - jax.nn.logsumexp(low, axis=-1, keepdims=True)
    return -(jnp.exp(log_p) * jnp.where(mask, log_p, 0)).sum(-1)


def zero_times_infinity(r, dy):
    x, mask = r
    low = jnp.where(mask, x, -jnp.inf)
    log_p = low - jax.nn.logsumexp(low, axis=-1, keepdims=True)
    entropy = masked_entropy(x, mask)[:, None]
    return -dy[:, None] * jnp.exp(log_p) * (log_p + entropy), None


def standardise(x):
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-12)


def eps_forgotten(r, dy):
    (x,) = r
    inverse = jax.lax.rsqrt(x.var(-1, keepdims=True))
    y = (x - x.mean(-1, keepdims=True)) * inverse
    projected = dy - dy.mean(-1, keepdims=True) - y * (y * dy).mean(-1, keepdims=True)
    return (inverse * projected,)


def hypotenuse(a, b):
    top = jax.lax.stop_gradient(jnp.maximum(abs(a), abs(b)))
    return top * jnp.sqrt((a / top) ** 2 + (b / top) ** 2)


def squares_overflow(r, dy):
    a, b = r
    c = jnp.sqrt(jnp.square(a) + jnp.square(b))
    return dy * a / c, dy * b / c


def deviation(x):
    return x.std(-1)


def difference_of_squares(r, dy):
    (x,) = r
    mean = x.mean(-1, keepdims=True)
    std = jnp.sqrt((x**2).mean(-1, keepdims=True) - mean**2)
    return (dy[:, None] * (x - mean) / std / x.shape[-1],)


def log_one_minus_exp(x):
    return jnp.log(-jnp.expm1(-x))


def one_minus_cancels(r, dy):
    e = jnp.exp(-r[0])
    return (dy * e / (1 - e),)


def power(x, p):
    return jnp.where(x > 0, jnp.where(x > 0, x, 1) ** p, 0)


def logarithm_of_zero(r, dy):
    x, p = r
    return dy * p * x ** (p - 1), dy * x**p * jnp.log(x)


def some_zero_rows(rng):
    return (rng.standard_normal((4, 3), np.float32) * np.array([[1], [0], [1], [0]], "f"),)


def some_constant_rows(rng):
    return (rng.standard_normal((3, 4)) * np.array([[1], [0], [1]]) + 2.0,)


def some_zeros(rng):
    x = rng.permutation([0.0, 0.0, 0.5, 1.5, 2.0]).astype(np.float32)
    return x, rng.uniform(1.5, 3, 5).astype(np.float32)


def masked_logits(rng):
    return rng.standard_normal((2, 5), np.float32), np.arange(5) != rng.integers(5)


def huge(rng):
    return (rng.permutation(np.array([800, -800, 1000, 1, -2], np.float32)),)


ENTRIES = [
    entry(
        "sigmoid_exponential_overflows",
        "exp(x) / (1 + exp(x))**2 is nan for large x",
        sigmoid,
        exponential_overflows,
        huge,
    ),
    entry(
        "logsumexp_not_shifted_backward",
        "the largest element is subtracted in the forward pass only",
        logsumexp,
        not_shifted,
        lambda rng: (rng.standard_normal((3, 4), np.float32) + np.float32(900),),
    ),
    entry(
        "norm_of_zero_is_nan_backward",
        "a row of zeros is divided by its norm, where the slope is defined to be 0",
        safe_norm,
        divided_by_zero_norm,
        some_zero_rows,
    ),
    entry(
        "positive_root_masked_by_multiplying",
        "the root of a negative number is multiplied by 0, and stays nan",
        positive_root,
        masked_by_multiplying,
        normals((12,)),
    ),
    entry(
        "masked_entropy_zero_times_infinity",
        "p log p is 0 times infinity where the mask is off",
        masked_entropy,
        zero_times_infinity,
        masked_logits,
    ),
    entry(
        "standardise_eps_forgotten_backward",
        "without eps a constant row divides by 0",
        standardise,
        eps_forgotten,
        some_constant_rows,
    ),
    entry(
        "hypotenuse_squares_overflow_backward",
        "squares overflow in the backward pass only",
        hypotenuse,
        squares_overflow,
        lambda rng: tuple(1e200 * rng.uniform(1, 2, (2, 5))),
    ),
    entry(
        "deviation_difference_of_squares",
        "mean(x**2) - mean(x)**2 loses most digits far from 0",
        deviation,
        difference_of_squares,
        lambda rng: (1e6 + rng.standard_normal((3, 4)),),
    ),
    entry(
        "log_one_minus_exp_cancels",
        "1 - exp(-x) loses all but a few digits for small x",
        log_one_minus_exp,
        one_minus_cancels,
        lambda rng: (1e-12 * rng.uniform(1, 2, 6),),
    ),
    entry(
        "power_exponent_at_zero",
        "0**p log(0) is nan",
        power,
        logarithm_of_zero,
        some_zeros,
    ),
]
