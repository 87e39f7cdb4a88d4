"""Solves, inverses and decompositions."""

import jax
import jax.numpy as jnp
import numpy as np

from ..entry import Entry, normals, pullback_of, rule

inv, solve = jnp.linalg.inv, jnp.linalg.solve


def solution_forwards(r, dy):
    a, b = r
    x = solve(a, b)
    db = solve(a, dy)
    return -jnp.outer(db, x), db


def matrix_sign(r, dy):
    a, b = r
    db = solve(a.T, dy)
    return jnp.outer(db, solve(a, b)), db


def inverse(a):
    return inv(a)


def inverse_squared(r, dy):
    return (-inv(r[0]) @ inv(r[0]) @ dy,)


def log_det(a):
    upper = jax.scipy.linalg.lu(a)[2]
    return jnp.log(abs(jnp.diagonal(upper))).sum()


def inverse_not_transposed(r, dy):
    return (dy * inv(r[0]),)


def cholesky(a):
    return jnp.linalg.cholesky((a + a.T) / 2, symmetrize_input=False)


def diagonal_not_halved(r, dy):
    (a,) = r
    low = cholesky(a)
    middle = jnp.tril(low.T @ dy)
    da = solve(low.T, solve(low.T, middle.T).T)
    return ((da + da.T) / 2,)


def triangular_solve(low, b):
    """Only the lower triangle is read."""
    return jax.scipy.linalg.solve_triangular(low, b, lower=True)


def whole_matrix(r, dy):
    low, b = r
    db = pullback_of(triangular_solve)(r, dy)[1]
    return -jnp.outer(db, triangular_solve(low, b)), db


def cube(a):
    return a @ a @ a


def commuting(r, dy):
    (a,) = r
    return (3 * a.T @ a.T @ dy,)


def gram(x):
    return x.T @ x


def one_side_only(r, dy):
    return (2 * r[0] @ dy,)


def quadratic_form(x, a):
    return x @ a @ x


def taken_as_symmetric(r, dy):
    x, a = r
    return 2 * dy * (a @ x), dy * jnp.outer(x, x)


def matrix(rng):
    return (rng.standard_normal((4, 4)) + 4 * np.eye(4)).astype(np.float32)


def positive(rng):
    a = rng.standard_normal((4, 4), np.float32)
    return (a @ a.T + 4 * np.eye(4, dtype=np.float32),)


def vector(rng):
    return rng.standard_normal(4, np.float32)


ENTRIES = [
    Entry(
        "solve_not_transposed",
        "the cotangent is solved with the matrix, not with its transpose",
        rule(solve, solution_forwards),
        lambda rng: (matrix(rng), vector(rng)),
        solve,
    ),
    Entry(
        "solve_matrix_sign",
        "the matrix's cotangent lacks its minus",
        rule(solve, matrix_sign),
        lambda rng: (matrix(rng), vector(rng)),
        solve,
    ),
    Entry(
        "inverse_as_if_scalar",
        "the slope is that of 1 / a, in one order and without transposes",
        rule(inverse, inverse_squared),
        lambda rng: (matrix(rng),),
        inverse,
    ),
    Entry(
        "log_det_not_transposed",
        "the cotangent is the inverse, not its transpose",
        rule(log_det, inverse_not_transposed),
        lambda rng: (matrix(rng),),
        log_det,
    ),
    Entry(
        "cholesky_diagonal_not_halved",
        "the triangle is taken with its whole diagonal, which counts half",
        rule(cholesky, diagonal_not_halved),
        positive,
        cholesky,
    ),
    Entry(
        "triangular_solve_fills_the_other_triangle",
        "elements that are never read have a cotangent",
        rule(triangular_solve, whole_matrix),
        lambda rng: (matrix(rng), vector(rng)),
        triangular_solve,
    ),
    Entry(
        "matrix_cube_as_if_commuting",
        "the slope 3 a**2, right for a number",
        rule(cube, commuting),
        lambda rng: (matrix(rng),),
        cube,
    ),
    Entry(
        "gram_cotangent_taken_as_symmetric",
        "twice one side's part, right for symmetric cotangents",
        rule(gram, one_side_only),
        normals((3, 4)),
    ),
    Entry(
        "quadratic_form_taken_as_symmetric",
        "the slope 2 a x, right for a symmetric matrix",
        rule(quadratic_form, taken_as_symmetric),
        normals((4,), (4, 4)),
    ),
]
