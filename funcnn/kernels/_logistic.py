"""The logistic function, its integral and slopes, with their digits in both tails."""

import math

import jax
import jax.numpy as jnp

DEEP = 40.0  # how far the exponent of what would be lost below float32's range is moved


def softplus(x):
    """`log(1 + exp(x))`."""
    positive = x > 0  # one mask for both terms, so that autodiff gets 1/2 at 0
    tail = jnp.log1p(jnp.exp(jnp.where(positive, -x, x)))
    return jnp.where(positive, x, 0) + tail


def logistic(x):
    """The slope of `softplus`, in a form whose own slope keeps its digits too."""
    e = jnp.exp(jnp.where(x < 0, x, -x))
    return jnp.where(x < 0, e, 1) / (1 + e)


def logistic_slope(x):
    """`logistic(x) * logistic(-x)`, in which nothing is subtracted from 1."""
    e = jnp.exp(-jnp.abs(x))
    return e / (1 + e) ** 2


def tanh_slope(x):
    """`1 - tanh(x)**2`, likewise."""
    e = jnp.exp(math.log(4) - 2 * jnp.abs(x))  # the 4 inside, or it would come too late
    return e / (1 + e / 4) ** 2


@jax.custom_jvp
def inverse_odds(z):
    """`1 / (1 + exp(z))`, of which no derivative is NaN where `exp(z)` overflows."""
    return 1 / (1 + jnp.exp(z))


@inverse_odds.defjvp
def _(primals, tangents):
    y = inverse_odds(*primals)
    return y, -y * (1 - y) * tangents[0]


def small(factor, exponent):
    """`factor * exp(exponent)` for exponents far below 0, where the exponential is lost."""
    return factor * jnp.exp(exponent + DEEP) * math.exp(-DEEP)


def low(dtype):
    """Whether a dtype has 16 bits or fewer."""
    return jnp.dtype(dtype).itemsize <= 2
