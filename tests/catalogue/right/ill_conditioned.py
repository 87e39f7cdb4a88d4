"""Problems that magnify the rounding of their arguments."""

import jax
import jax.numpy as jnp
import numpy as np

from tests.catalogue.entry import Entry, rule
from tests.catalogue.right import array, normal, uniform

solve_rule = rule(
    jnp.linalg.solve,
    lambda r, dy: (
        -jnp.outer(jnp.linalg.solve(r[0].T, dy), jnp.linalg.solve(*r)),
        jnp.linalg.solve(r[0].T, dy),
    ),
)


def conditioned(rng, n, condition):
    """A matrix of singular values from 1 to 1 / condition."""
    left, right = (np.linalg.qr(rng.standard_normal((n, n)))[0] for _ in range(2))
    return array(left * np.geomspace(1, 1 / condition, n) @ right)


def spd_solve(a, b):
    return jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(a), b)


def spd_solve_bwd(residuals, dy):
    """Symmetrised, because only the symmetric part of `a` is read."""
    a, x = residuals
    db = spd_solve(a, dy)
    return -(jnp.outer(db, x) + jnp.outer(x, db)) / 2, db


spd_solve_rule = rule(
    lambda a, b: spd_solve((a + a.T) / 2, b),
    spd_solve_bwd,
    lambda a, b: (
        spd_solve((a + a.T) / 2, b),
        ((a + a.T) / 2, spd_solve((a + a.T) / 2, b)),
    ),
)


def hilbert(rng, n):
    """The Hilbert matrix, scaled at random."""
    return array(rng.uniform(1, 2) / (1 + np.add.outer(np.arange(n), np.arange(n))))


def inverse_bwd(inverse, dy):
    return (-inverse.T @ dy @ inverse.T,)


inverse_rule = rule(jnp.linalg.inv, inverse_bwd, lambda a: (jnp.linalg.inv(a),) * 2)


def small_root(b, c):
    """The smaller root of z**2 - 2 b z + c."""
    return c / (b + jnp.sqrt(b**2 - c))


def small_root_bwd(residuals, dy):
    b, c = residuals
    root = jnp.sqrt(b**2 - c)
    return -dy * small_root(b, c) / root, dy / (2 * root)


small_root_rule = rule(small_root, small_root_bwd)


def needle(a, b, c):
    """The area of a needle-like triangle with sides a >= b >= c (Kahan, 2014)."""
    square = (a + (b + c)) * (c - (a - b)) * (c + (a - b)) * (a + (b - c))
    return jnp.sqrt(square) / 4


def heron(a, b, c):
    s = (a + b + c) / 2
    return jnp.sqrt(s * (s - a) * (s - b) * (s - c))


ENTRIES = [
    Entry(
        "solve_condition_1e6",
        "Errors grow by the condition number, twice in the matrix's cotangent.",
        solve_rule,
        lambda rng: (conditioned(rng, 6, 1e6), normal(rng, 6)),
        lambda a, b: jnp.linalg.inv(a) @ b,
    ),
    Entry(
        "solve_hilbert",
        "A Hilbert matrix of condition 5e5, solved by Cholesky, with a symmetrised rule.",
        spd_solve_rule,
        lambda rng: (hilbert(rng, 5), normal(rng, 5)),
        lambda a, b: jnp.linalg.solve((a + a.T) / 2, b),
    ),
    Entry(
        "inverse_condition_1e4",
        "The cotangent has the size of the condition number squared.",
        inverse_rule,
        lambda rng: (conditioned(rng, 5, 1e4),),
        jnp.linalg.inv,
    ),
    Entry(
        "smaller_root",
        "The textbook formula for a quadratic's smaller root subtracts equal numbers.",
        small_root_rule,
        lambda rng: (uniform(rng, 20, 50, 6), uniform(rng, 0.5, 1, 6)),
        lambda b, c: b - jnp.sqrt(b**2 - c),
    ),
    Entry(
        "needle_triangle",
        "No custom rule; Heron's formula loses digits that Kahan's keeps.",
        needle,
        lambda rng: (
            10 + uniform(rng, 0, 1e-2, 5),
            10 - uniform(rng, 0, 1e-2, 5),
            uniform(rng, 0.1, 0.2, 5),
        ),
        heron,
    ),
]
