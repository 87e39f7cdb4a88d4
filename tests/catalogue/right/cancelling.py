"""Differences of nearly equal numbers, and gradients that cancel to nothing."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from tests.catalogue.entry import Entry, rule
from tests.catalogue.right import array, normal, uniform


def variance(x):
    return ((x - x.mean(-1, keepdims=True)) ** 2).mean(-1)


def variance_bwd(residuals, dy):
    (x,) = residuals
    return (2 * dy[..., None] * (x - x.mean(-1, keepdims=True)) / x.shape[-1],)


variance_rule = rule(variance, variance_bwd)


def two_moments(x):
    return (x**2).mean(-1) - x.mean(-1) ** 2


two_moments_rule = rule(two_moments, variance_bwd)


def logsumexp(x):
    top = jax.lax.stop_gradient(x.max(-1, keepdims=True))
    return top[..., 0] + jnp.log(jnp.exp(x - top).sum(-1))


def softmax(x):
    e = jnp.exp(x - jax.lax.stop_gradient(x.max(-1, keepdims=True)))
    return e / e.sum(-1, keepdims=True)


logsumexp_rule = rule(logsumexp, lambda r, dy: (dy[..., None] * softmax(r[0]),))


def softmax_bwd(residuals, dy):
    p = softmax(*residuals)
    return (p * (dy - (p * dy).sum(-1, keepdims=True)),)


softmax_rule = rule(softmax, softmax_bwd)


def total_probability(x):
    return softmax_rule(x).sum(-1)


def excess(x):
    return logsumexp_rule(x) - x.mean(-1)


one_minus_cos_rule = rule(
    lambda x: 2 * jnp.sin(x / 2) ** 2, lambda r, dy: (jnp.sin(r[0]) * dy,)
)
log1p_rule = rule(jnp.log1p, lambda r, dy: (dy / (1 + r[0]),))
expm1_rule = rule(jnp.expm1, lambda r, dy: (jnp.exp(r[0]) * dy,))


def series(x, term):
    return sum(term(k) * x**k for k in range(14))


def growth_rate(x):
    """(exp(x) - 1) / x"""
    near = abs(x) < 0.3
    far = jnp.where(near, 1, x)
    close = series(jnp.where(near, x, 0), lambda k: 1 / math.factorial(k + 1))
    return jnp.where(near, close, jnp.expm1(far) / far)


def growth_rate_bwd(residuals, dy):
    (x,) = residuals
    near = abs(x) < 0.3
    far = jnp.where(near, 1, x)
    slope = (jnp.exp(far) * (far - 1) + 1) / far**2
    close = series(jnp.where(near, x, 0), lambda k: (k + 1) / math.factorial(k + 2))
    return (dy * jnp.where(near, close, slope),)


growth_rate_rule = rule(growth_rate, growth_rate_bwd)


def gap(a, b):
    return (a**2).sum() - (b**2).sum()


gap_rule = rule(gap, lambda r, dy: (2 * r[0] * dy, -2 * r[1] * dy))


def gap_args(rng):
    a = normal(rng, 50)
    return a, a + 1e-4 * normal(rng, 50)


def standardize(x):
    return (x - x.mean(0)) / jnp.sqrt(variance(x.T) + 1e-5)


def standardize_bwd(residuals, dy):
    (x,) = residuals
    r = 1 / jnp.sqrt(variance(x.T) + 1e-5)
    xhat = (x - x.mean(0)) * r
    return (r * (dy - dy.mean(0) - xhat * (xhat * dy).mean(0)),)


standardize_rule = rule(standardize, standardize_bwd)


def missing_entropy(x):
    """How much the entropy of softmax falls short of a uniform distribution's."""
    p = softmax(x)
    return (p * jnp.log(p * x.shape[-1])).sum(-1)


def missing_entropy_bwd(residuals, dy):
    (x,) = residuals
    p = softmax(x)
    return (dy[..., None] * p * (jnp.log(p * x.shape[-1]) - missing_entropy(x)[..., None]),)


missing_entropy_rule = rule(missing_entropy, missing_entropy_bwd)

ENTRIES = [
    Entry(
        "variance_far_from_zero",
        "A spread of 1 around 1e4.",
        variance_rule,
        lambda rng: (1e4 + normal(rng, 3, 16),),
        lambda x: x.var(-1),
    ),
    Entry(
        "variance_of_moments",
        "The forward pass subtracts nearly equal moments, the rule does not.",
        two_moments_rule,
        lambda rng: (10 + normal(rng, 3, 16),),
    ),
    Entry(
        "logsumexp_of_near_equal_huge",
        "Numbers of 1e4 that differ in the last few digits of float32.",
        logsumexp_rule,
        lambda rng: (1e4 + 1e-2 * normal(rng, 3, 6),),
        logsumexp,
    ),
    Entry(
        "one_minus_cos",
        "The reference cancels at small angles, the function does not.",
        one_minus_cos_rule,
        lambda rng: (1e-2 * uniform(rng, 0.5, 1, 6),),
        lambda x: 1 - jnp.cos(x),
    ),
    Entry(
        "log1p_of_small",
        "The reference rounds 1 + x.",
        log1p_rule,
        lambda rng: (1e-3 * normal(rng, 6),),
        lambda x: jnp.log(1 + x),
    ),
    Entry(
        "expm1_of_small",
        "The reference subtracts 1 from nearly 1.",
        expm1_rule,
        lambda rng: (1e-3 * normal(rng, 6),),
        lambda x: jnp.exp(x) - 1,
    ),
    Entry(
        "expm1_over_x",
        "A series near 0, where the quotient cancels, in function and rule.",
        growth_rate_rule,
        lambda rng: (array([*rng.uniform(-3, 3, 6), 1e-4, -1e-6, 0.0]),),
    ),
    Entry(
        "softmax_sums_to_one",
        "The function is constant: both gradients are rounding noise about 0.",
        total_probability,
        lambda rng: (normal(rng, 3, 5),),
        lambda x: softmax(x).sum(-1),
    ),
    Entry(
        "excess_at_its_minimum",
        "Equal logits: the gradient of logsumexp less the mean cancels to 0.",
        excess,
        lambda rng: (array(np.repeat(rng.standard_normal((3, 1)), 5, 1)),),
        lambda x: logsumexp(x) - x.mean(-1),
    ),
    Entry(
        "difference_of_equal_sums",
        "Two sums of squares agree to four digits; their difference is the output.",
        gap_rule,
        gap_args,
        lambda a, b: ((a - b) * (a + b)).sum(),
    ),
    Entry(
        "standardize_far_from_zero",
        "Columns of spread 1 around 1e3; three terms of the rule nearly cancel.",
        standardize_rule,
        lambda rng: (1e3 + normal(rng, 16, 4),),
        lambda x: (x - x.mean(0)) / jnp.sqrt(x.var(0) + 1e-5),
    ),
    Entry(
        "missing_entropy",
        "Nearly uniform logits: value and gradient are small differences.",
        missing_entropy_rule,
        lambda rng: (1e-2 * normal(rng, 3, 8),),
        lambda x: (softmax(x) * (jnp.log(softmax(x)) + jnp.log(x.shape[-1]))).sum(-1),
    ),
]
