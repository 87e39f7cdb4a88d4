"""jax.scipy.special and a density of jax.scipy.stats as they are."""

from functools import partial

import jax
import numpy as np

from tests.catalogue.entry import Entry
from tests.catalogue.right import array, normal, uniform

special = jax.scipy.special


def log_density(x, mean, covariance):
    return jax.scipy.stats.multivariate_normal.logpdf(x, mean, covariance @ covariance.T)


ENTRIES = [
    Entry(
        "special_gammaln",
        "Its derivative and second derivative are special functions too.",
        special.gammaln,
        lambda rng: (uniform(rng, 0.5, 9, 6),),
    ),
    Entry(
        "special_digamma",
        "Poles at 0, -1, -2.",
        special.digamma,
        lambda rng: (uniform(rng, -0.9, 5, 6),),
    ),
    Entry(
        "special_erf", "Flat beyond 4.", special.erf, lambda rng: (uniform(rng, -5, 5, 6),)
    ),
    Entry(
        "special_erfinv",
        "Steep near 1.",
        special.erfinv,
        lambda rng: (uniform(rng, -0.99, 0.99, 6),),
    ),
    Entry(
        "special_xlogy",
        "At x = 0 its rule is right, and autodiff of its guarded body, with 0, is not.",
        special.xlogy,
        lambda rng: (array([0.0, *rng.standard_normal(4)]), uniform(rng, 0.5, 2, 5)),
    ),
    Entry(
        "special_entr", "-x log x.", special.entr, lambda rng: (uniform(rng, 0.01, 2, 6),)
    ),
    Entry(
        "special_betainc",
        "Differentiable in its last argument alone; the others are static.",
        partial(special.betainc, 2.5, 1.5),
        lambda rng: (uniform(rng, 0.1, 0.9, 6),),
    ),
    Entry(
        "special_gammainc",
        "The exponent is static.",
        partial(special.gammainc, 1.7),
        lambda rng: (uniform(rng, 0.2, 5, 6),),
    ),
    Entry(
        "special_log_ndtr",
        "A custom_jvp rule in three pieces.",
        special.log_ndtr,
        lambda rng: (uniform(rng, -9, 6, 8),),
    ),
    Entry(
        "special_i0e",
        "A Bessel function.",
        special.i0e,
        lambda rng: (uniform(rng, 0.2, 9, 6),),
    ),
    Entry(
        "special_rel_entr",
        "Two arguments.",
        special.rel_entr,
        lambda rng: (uniform(rng, 0.1, 2, 6), uniform(rng, 0.1, 2, 6)),
    ),
    Entry(
        "special_logit",
        "The inverse of sigmoid.",
        special.logit,
        lambda rng: (uniform(rng, 0.01, 0.99, 6),),
    ),
    Entry(
        "multivariate_normal",
        "A Cholesky factor, a solve and a logarithm.",
        log_density,
        lambda rng: (
            normal(rng, 4, 3),
            normal(rng, 3),
            np.eye(3, dtype="float32") + 0.2 * normal(rng, 3, 3),
        ),
    ),
]
