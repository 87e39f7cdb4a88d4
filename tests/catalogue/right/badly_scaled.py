"""Arguments and derivatives of very large, very small and very mixed size."""

import jax
import jax.numpy as jnp

from tests.catalogue.entry import Entry, rule
from tests.catalogue.right import normal, uniform


def dense(x, weight):
    return x @ weight


dense_rule = rule(dense, lambda r, dy: (dy @ r[1].T, r[0].T @ dy))


def product(a, b, c):
    return a * b * c


product_rule = rule(
    product, lambda r, dy: (dy * (r[1] * r[2]), dy * (r[0] * r[2]), dy * (r[0] * r[1]))
)


def decay(x):
    return jnp.exp(-x)


decay_rule = rule(decay, lambda y, dy: (-y * dy,), lambda x: (decay(x),) * 2)
sigmoid_rule = rule(
    jax.nn.sigmoid, lambda r, dy: (dy * jax.nn.sigmoid(r[0]) * jax.nn.sigmoid(-r[0]),)
)


def energy(body, mass):
    """Newton's, in SI units."""
    return -6.674e-11 * body["mass"] / body["radius"] * mass


def energy_bwd(residuals, dy):
    body, mass = residuals
    field = -6.674e-11 * body["mass"] / body["radius"]
    pull = dy * mass
    dmass = -6.674e-11 / body["radius"] * pull
    return {"mass": dmass, "radius": -field / body["radius"] * pull}, dy * field


energy_rule = rule(energy, energy_bwd)


def unit(x):
    return x / jnp.sqrt((x**2).sum(-1, keepdims=True))


def unit_bwd(residuals, dy):
    (x,) = residuals
    length = jnp.sqrt((x**2).sum(-1, keepdims=True))
    y = x / length
    return ((dy - y * (y * dy).sum(-1, keepdims=True)) / length,)


unit_rule = rule(unit, unit_bwd)


def hypot_bwd(residuals, dy):
    a, b = residuals
    y = jnp.hypot(a, b)
    return dy * (a / y), dy * (b / y)


hypot_rule = rule(jnp.hypot, hypot_bwd)


def model(params, x):
    h = jnp.tanh(x @ params["first"]["weight"])
    return h @ params["last"]["weight"] + params["last"]["bias"]


def model_bwd(residuals, dy):
    params, x = residuals
    h = jnp.tanh(x @ params["first"]["weight"])
    da = dy @ params["last"]["weight"].T * (1 - h**2)
    first, last = {"weight": x.T @ da}, {"weight": h.T @ dy, "bias": dy.sum(0)}
    return {"first": first, "last": last}, da @ params["first"]["weight"].T


model_rule = rule(model, model_bwd)


def model_args(rng):
    first = {"weight": 1e-6 * normal(rng, 4, 5)}
    last = {"weight": 1e6 * normal(rng, 5, 3), "bias": 1e-3 * normal(rng, 3)}
    return {"first": first, "last": last}, 1e6 * normal(rng, 6, 4)


def grow(x):
    """15 steps of a tenfold amplifier."""
    return jax.lax.scan(lambda c, _: (10 * jnp.sin(c / 10) + 9 * c, None), x, length=15)[0]


power_rule = rule(lambda x: x**8, lambda r, dy: (8 * r[0] ** 7 * dy,))

ENTRIES = [
    Entry(
        "large_inputs_small_weights",
        "Inputs of 1e15 and weights of 1e-15: the cotangents differ by 30 decades.",
        dense_rule,
        lambda rng: (1e15 * normal(rng, 5, 4), 1e-15 * normal(rng, 4, 3)),
        dense,
    ),
    Entry(
        "product_of_extremes",
        "Factors of 1e-20, 1e20 and 1.",
        product_rule,
        lambda rng: (1e-20 * normal(rng, 6), 1e20 * normal(rng, 6), normal(rng, 6)),
        product,
    ),
    Entry(
        "exponential_decay",
        "Derivatives down to 1e-26.",
        decay_rule,
        lambda rng: (uniform(rng, 0, 60, 10),),
        decay,
    ),
    Entry(
        "sigmoid_tails",
        "Saturated on both sides; the right tail has values of 1 and a tiny derivative.",
        sigmoid_rule,
        lambda rng: (uniform(rng, -60, 60, 10),),
        lambda x: jnp.where(
            x > 0, 1 / (1 + jnp.exp(-abs(x))), 1 - 1 / (1 + jnp.exp(-abs(x)))
        ),
    ),
    Entry(
        "all_in_the_far_tail",
        "Every derivative is below 1e-10.",
        sigmoid_rule,
        lambda rng: (uniform(rng, -40, -25, 8),),
        lambda x: jnp.exp(x) / (1 + jnp.exp(x)),
    ),
    Entry(
        "potential_energy",
        "Masses of 1e24 kg, a radius of 1e7 m and a constant of 1e-11, in a dict.",
        energy_rule,
        lambda rng: (
            {"mass": 6e24 * uniform(rng, 1, 2, 3), "radius": 1e7 * uniform(rng, 1, 2, 3)},
            1e3 * uniform(rng, 1, 2, 3),
        ),
        energy,
    ),
    Entry(
        "unit_vector_of_tiny",
        "Cotangents grow by 1e12.",
        unit_rule,
        lambda rng: (1e-12 * normal(rng, 3, 4),),
        lambda x: x / jnp.linalg.norm(x, axis=-1, keepdims=True),
    ),
    Entry(
        "unit_vector_of_huge",
        "Cotangents shrink by 1e15.",
        unit_rule,
        lambda rng: (1e15 * normal(rng, 3, 4),),
        lambda x: x / jnp.linalg.norm(x, axis=-1, keepdims=True),
    ),
    Entry(
        "hypot_of_huge",
        "Squares overflow float32 but not float64, where the naive reference holds.",
        hypot_rule,
        lambda rng: (1e25 * normal(rng, 5), 1e24 * normal(rng, 5)),
        lambda a, b: jnp.sqrt(a**2 + b**2),
    ),
    Entry(
        "layers_of_unlike_scale",
        "Weights of 1e-6 and of 1e6 in nested dicts, inputs of 1e6.",
        model_rule,
        model_args,
        model,
    ),
    Entry(
        "amplifier",
        "No custom rule; 15 steps of a scan multiply cotangents by 1e15.",
        grow,
        lambda rng: (1e-16 * normal(rng, 5),),
    ),
    Entry(
        "eighth_power",
        "Values of 1e24 and second derivatives of 1e18 from arguments of 1e3.",
        power_rule,
        lambda rng: (1e3 * normal(rng, 5),),
        lambda x: jnp.square(jnp.square(jnp.square(x))),
    ),
]
