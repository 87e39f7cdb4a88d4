"""Decays and the step in, the factors of running means out, debiased."""

import math

import jax
import jax.numpy as jnp


def adam_means(g, mu, nu, b1, a1, b2, a2):
    """Adam's two running means of one leaf, of the gradient and of its square."""
    return b1 * mu + a1 * g, b2 * nu + a2 * (g * g)


def means(b1, b2):
    """The factors of two running means."""
    return b1, 1 - b1, b2, 1 - b2


def debias(t, *decays):
    """What to multiply running means by after t steps, as they started at 0."""
    return [1 / one_minus_power(b, t) for b in decays]


def one_minus_power(b, t):
    """`1 - b**t` without cancellation, for t of at least 1."""
    t = t.astype(jnp.result_type(float))
    if isinstance(b, jax.Array):
        log = jnp.log(b.astype(t.dtype))
    else:  # in Python, so that log(0.999) has all of its digits in float32
        log = jnp.asarray(math.log(b) if b > 0 else -math.inf, t.dtype)
    return -jnp.expm1(t * log)
