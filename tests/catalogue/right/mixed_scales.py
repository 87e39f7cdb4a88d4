"""Elements, terms and outputs of very unlike size, side by side."""

import jax.numpy as jnp

from tests.catalogue.entry import Entry, rule
from tests.catalogue.right import array, normal, powers, signed_powers, uniform

squares_rule = rule(lambda x: (x**2).sum(), lambda r, dy: (2 * r[0] * dy,))
log_rule = rule(jnp.log, lambda r, dy: (dy / r[0],))
reciprocal_rule = rule(lambda x: 1 / x, lambda r, dy: (-dy / r[0] ** 2,))


def loud_and_quiet(x, z):
    return {"loud": 1e15 * jnp.sin(x), "quiet": 1e-15 * jnp.cos(z)}


loud_and_quiet_rule = rule(
    loud_and_quiet,
    lambda r, dy: (
        1e15 * jnp.cos(r[0]) * dy["loud"],
        -1e-15 * jnp.sin(r[1]) * dy["quiet"],
    ),
)


def drowned(x):
    return {"loud": 1e10 * jnp.sin(x), "quiet": 1e-10 * jnp.cos(x)}


drowned_rule = rule(
    drowned,
    lambda r, dy: (
        1e10 * jnp.cos(r[0]) * dy["loud"] - 1e-10 * jnp.sin(r[0]) * dy["quiet"],
    ),
)


def ratio(a, b):
    return a / b


ratio_rule = rule(ratio, lambda r, dy: (dy / r[1], -dy * (r[0] / r[1]) / r[1]))
lost_rule = rule(lambda a, b: a**2 + b, lambda r, dy: (2 * r[0] * dy, dy))


def weigh(x, weight):
    return (x * weight).sum(-1)


weigh_rule = rule(weigh, lambda r, dy: (dy[:, None] * r[1], (dy[:, None] * r[0]).sum(0)))

ENTRIES = [
    Entry(
        "mixed_sum_of_squares",
        "Elements of 1e-10 to 1e10 in one leaf; the scalar output hides the small ones.",
        squares_rule,
        lambda rng: (signed_powers(rng, -10, 10, 12),),
        lambda x: jnp.vdot(x, x),
    ),
    Entry(
        "log_over_thirty_decades",
        "Derivatives from 1e-15 to 1e15.",
        log_rule,
        lambda rng: (powers(rng, -15, 15, 12),),
        jnp.log,
    ),
    Entry(
        "mixed_reciprocal",
        "One leaf of 1e-8 to 1e8, derivatives of 1e-16 to 1e16.",
        reciprocal_rule,
        lambda rng: (signed_powers(rng, -8, 8, 10),),
        jnp.reciprocal,
    ),
    Entry(
        "loud_and_quiet_outputs",
        "Outputs of 1e15 and 1e-15, of an argument each.",
        loud_and_quiet_rule,
        lambda rng: (normal(rng, 4), normal(rng, 4)),
        loud_and_quiet,
    ),
    Entry(
        "quiet_output_drowned",
        "Outputs of 1e10 and 1e-10 of the same argument.",
        drowned_rule,
        lambda rng: (normal(rng, 4),),
        drowned,
    ),
    Entry(
        "ratio_of_extremes",
        "Numerators of 1e10, denominators of 1e-6 to 1e-2.",
        ratio_rule,
        lambda rng: (1e10 * normal(rng, 6), signed_powers(rng, -6, -2, 6)),
        lambda a, b: a * b**-1,
    ),
    Entry(
        "lost_addend",
        "An addend of 1e-10 beside 1e20 never shows in the values; its derivative is 1.",
        lost_rule,
        lambda rng: (1e10 * uniform(rng, 1, 2, 4), 1e-10 * normal(rng, 4)),
        lambda a, b: jnp.square(a) + b,
    ),
    Entry(
        "mixed_weighted_sum",
        "Terms of 1e-10 to 1e10 in each sum, and weights of 1e-5 to 1e5.",
        weigh_rule,
        lambda rng: (signed_powers(rng, -10, 10, 3, 8), signed_powers(rng, -5, 5, 8)),
        lambda x, weight: x @ weight,
    ),
    Entry(
        "one_giant_among_dwarfs",
        "One element of 1e20 in a leaf of ones, in float64.",
        log_rule,
        lambda rng: (array([1e20, *rng.uniform(1, 2, 7)], "float64"),),
        jnp.log,
    ),
]
