"""Rules that are finite where autodiff of the definition gives NaN or infinity."""

import math

import jax.numpy as jnp
import numpy as np

from tests.catalogue.entry import Entry, rule
from tests.catalogue.right import array, normal, uniform


def guarded(divisor):
    """The divisor, and 1 where it is 0."""
    return jnp.where(divisor == 0, 1, divisor)


def length(x):
    """The norm of each row, differentiable twice wherever it is not 0."""
    square = (x**2).sum(-1)
    return jnp.where(square == 0, 0, jnp.sqrt(guarded(square)))


def norm_bwd(residuals, dy):
    (x,) = residuals
    n = length(x)[:, None]
    return (jnp.where(n == 0, 0, dy[:, None] * x / guarded(n)),)


norm_rule = rule(length, norm_bwd)


def rows_with_zeros(rng, n, d):
    return normal(rng, n, d) * array(np.arange(n) % 2)[:, None]


def root(x):
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), 0)


def root_bwd(residuals, dy):
    (x,) = residuals
    return (jnp.where(x > 0, dy / (2 * root(guarded(x))), 0),)


root_rule = rule(root, root_bwd)


def x_log_x(x):
    return jnp.where(x > 0, x * jnp.log(jnp.where(x > 0, x, 1)), 0)


x_log_x_rule = rule(
    x_log_x,
    lambda r, dy: (jnp.where(r[0] > 0, 1 + jnp.log(jnp.where(r[0] > 0, r[0], 1)), 0) * dy,),
)


def sinc_series(x, term):
    return sum((-1) ** k * term(k) * x ** (2 * k) for k in range(10))


def sinc(x):
    """sin(x) / x, with 1 at 0."""
    near = abs(x) < 0.5
    far = jnp.where(near, 1, x)
    close = sinc_series(jnp.where(near, x, 0), lambda k: 1 / math.factorial(2 * k + 1))
    return jnp.where(near, close, jnp.sin(far) / far)


def sinc_bwd(residuals, dy):
    (x,) = residuals
    near = abs(x) < 0.5
    far, at = jnp.where(near, 1, x), jnp.where(near, x, 0)
    close = -at * sinc_series(at, lambda k: (2 * k + 2) / math.factorial(2 * k + 3))
    slope = (far * jnp.cos(far) - jnp.sin(far)) / far**2
    return (dy * jnp.where(near, close, slope),)


sinc_rule = rule(sinc, sinc_bwd)


def quotient(a, b):
    return jnp.where(b == 0, 0, a / guarded(b))


def quotient_bwd(residuals, dy):
    a, b = residuals
    da = jnp.where(b == 0, 0, dy / guarded(b))
    return da, -da * quotient(a, b)


quotient_rule = rule(quotient, quotient_bwd)


def power(x, p):
    """x**p for p > 2, and 0 for x below 0."""
    return jnp.where(x > 0, jnp.where(x > 0, x, 1) ** p, 0)


def power_bwd(residuals, dy):
    x, p = residuals
    log = jnp.log(jnp.where(x > 0, x, 1))
    return dy * p * power(x, p - 1), dy * power(x, p) * log


power_rule = rule(power, power_bwd)


def normalise(x):
    """x over its length, or over 0.1 if that is more: linear about 0."""
    return x / jnp.maximum(length(x), 0.1)[:, None]


def normalise_bwd(residuals, dy):
    (x,) = residuals
    n = length(x)[:, None]
    y = x / guarded(n)
    tangent = (dy - y * (y * dy).sum(-1, keepdims=True)) / guarded(n)
    return (jnp.where(n > 0.1, tangent, dy / 0.1),)


normalise_rule = rule(normalise, normalise_bwd)


def distances(x):
    """Between all pairs of points: 0 on the diagonal, whatever the points."""
    square = ((x[:, None] - x) ** 2).sum(-1)
    return jnp.where(square == 0, 0, jnp.sqrt(guarded(square)))


def distances_bwd(residuals, dy):
    (x,) = residuals
    towards = (x[:, None] - x) / guarded(distances(x))[..., None]
    pull = dy[..., None] * towards
    return (pull.sum(1) - pull.sum(0),)


distances_rule = rule(distances, distances_bwd)

ENTRIES = [
    Entry(
        "norm_of_zero",
        "Rows of zeros, where the norm has a kink and autodiff says NaN.",
        norm_rule,
        lambda rng: (rows_with_zeros(rng, 4, 3),),
        lambda x: jnp.sqrt((x**2).sum(-1)),
    ),
    Entry(
        "norm_of_zero_own_definition",
        "The same without a reference.",
        norm_rule,
        lambda rng: (rows_with_zeros(rng, 4, 3),),
    ),
    Entry(
        "sqrt_of_zero",
        "The slope at 0 is infinite on the right and 0 on the left; the rule says 0.",
        root_rule,
        lambda rng: (array([0.0, *rng.uniform(0.5, 2, 4), 0.0]),),
        lambda x: jnp.where(x > 0, jnp.sqrt(x), 0),
    ),
    Entry(
        "x_log_x_at_0",
        "The slope at 0 is minus infinity on the right; the rule says 0.",
        x_log_x_rule,
        lambda rng: (array([0.0, *rng.uniform(0.1, 2, 4)]),),
        lambda x: jnp.where(x > 0, x * jnp.log(x), 0),
    ),
    Entry(
        "sinc_at_0",
        "The definition is 0 / 0 at 0, the rule a series there.",
        sinc_rule,
        lambda rng: (array([0.0, 1e-5, *rng.uniform(-3, 3, 5)]),),
        lambda x: jnp.sin(x) / x,
    ),
    Entry(
        "sinc_at_0_own_definition",
        "The same without a reference.",
        sinc_rule,
        lambda rng: (array([0.0, 1e-5, *rng.uniform(-3, 3, 5)]),),
    ),
    Entry(
        "zero_over_zero",
        "A guarded quotient: with one argument 0, it is 0 along the other.",
        quotient_rule,
        lambda rng: (
            array([0.0, 0.0, *rng.standard_normal(4)]),
            array([0.0, 0.0, *rng.uniform(0.5, 2, 4)]),
        ),
        lambda a, b: jnp.where(b == 0, 0, a / b),
    ),
    Entry(
        "power_of_zero",
        "Autodiff multiplies 0 by the logarithm of 0 for the exponent.",
        power_rule,
        lambda rng: (array([0.0, *rng.uniform(0.5, 2, 4)]), uniform(rng, 3.2, 3.8, 5)),
        lambda x, p: jnp.exp(p * jnp.log(x)),
    ),
    Entry(
        "unit_vector_at_0",
        "Linear about 0, where the norm's autodiff is NaN.",
        normalise_rule,
        lambda rng: (rows_with_zeros(rng, 4, 3),),
        lambda x: x / jnp.maximum(jnp.linalg.norm(x, axis=-1), 0.1)[:, None],
    ),
    Entry(
        "distances_to_itself",
        "The diagonal is 0 for all points; autodiff of the root says NaN.",
        distances_rule,
        lambda rng: (normal(rng, 4, 3),),
        lambda x: jnp.sqrt(((x[:, None] - x) ** 2).sum(-1)),
    ),
]
