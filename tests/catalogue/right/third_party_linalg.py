"""jax.numpy.linalg, jax.scipy.linalg and solvers as they are."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from tests.catalogue.entry import Entry
from tests.catalogue.right import array, normal

lax = jax.lax
linalg = jnp.linalg


def positive_definite(rng, n):
    a = rng.standard_normal((n, n))
    return array(a @ a.T / n + np.eye(n))


def root_of_cubic(a):
    """The real x with x**3 + x = a."""

    def solve(f, x):
        def newton(_, x):
            y, slope = jax.jvp(f, (x,), (jnp.ones_like(x),))
            return x - y / slope

        return lax.fori_loop(0, 30, newton, x)

    return lax.custom_root(
        lambda x: x**3 + x - a,
        jnp.zeros_like(a),
        solve,
        lambda g, y: y / g(jnp.ones_like(y)),
    )


def cubic_formula(a):
    r = jnp.sqrt(a**2 / 4 + 1 / 27)
    return jnp.cbrt(a / 2 + r) - jnp.cbrt(r - a / 2)


def implicit_solve(a, b):
    def solve(matvec, y):
        return linalg.solve(a, y)

    def transposed(vecmat, y):
        return linalg.solve(a.T, y)

    return lax.custom_linear_solve(lambda x: a @ x, b, solve, transposed)


def conjugate_gradients(a, b):
    a = (a + a.T) / 2  # the solver's rule takes the transpose to be the same
    return jax.scipy.sparse.linalg.cg(lambda x: a @ x, b, tol=0, maxiter=12)[0]


ENTRIES = [
    Entry(
        "linalg_solve",
        "An implicit rule.",
        linalg.solve,
        lambda rng: (positive_definite(rng, 4), normal(rng, 4, 2)),
        lambda a, b: linalg.inv(a) @ b,
    ),
    Entry(
        "linalg_cholesky",
        "Only the symmetric part of the argument counts.",
        linalg.cholesky,
        lambda rng: (positive_definite(rng, 4),),
    ),
    Entry(
        "linalg_norm",
        "Of matrices, and away from 0.",
        linalg.norm,
        lambda rng: (normal(rng, 3, 4),),
        lambda x: jnp.sqrt((x**2).sum()),
    ),
    Entry(
        "linalg_norm_nuclear",
        "Singular values.",
        partial(linalg.norm, ord="nuc"),
        lambda rng: (normal(rng, 3, 4),),
    ),
    Entry(
        "linalg_det",
        "A custom_jvp rule by cofactors.",
        linalg.det,
        lambda rng: (normal(rng, 4, 4),),
    ),
    Entry(
        "linalg_det_nearly_singular",
        "The determinant is a hundredth of its terms, its gradient is not.",
        linalg.det,
        lambda rng: (
            array(rng.standard_normal((3, 2)) @ rng.standard_normal((2, 3)))
            + 1e-2 * normal(rng, 3, 3),
        ),
        lambda a: jnp.dot(a[:, 0], jnp.cross(a[:, 1], a[:, 2])),
    ),
    Entry(
        "linalg_inv",
        "Stacks of matrices.",
        linalg.inv,
        lambda rng: (np.eye(3, dtype="float32") + 0.2 * normal(rng, 2, 3, 3),),
    ),
    Entry(
        "linalg_slogdet",
        "Two outputs, one a sign.",
        linalg.slogdet,
        lambda rng: (normal(rng, 4, 4),),
    ),
    Entry(
        "linalg_eigvalsh",
        "Eigenvalues apart from each other.",
        linalg.eigvalsh,
        lambda rng: (array(np.diag([1.0, 2, 4, 8])) + 0.1 * normal(rng, 4, 4),),
    ),
    Entry(
        "linalg_svdvals",
        "Singular values.",
        linalg.svdvals,
        lambda rng: (array(np.eye(3, 4) * [[1], [3], [9]]) + 0.1 * normal(rng, 3, 4),),
    ),
    Entry(
        "linalg_pinv", "A custom_jvp rule.", linalg.pinv, lambda rng: (normal(rng, 3, 5),)
    ),
    Entry(
        "linalg_qr",
        "Two outputs, unique up to signs.",
        lambda x: tuple(linalg.qr(x)),
        lambda rng: (normal(rng, 4, 3),),
    ),
    Entry(
        "scipy_expm",
        "A loop of squarings inside.",
        jax.scipy.linalg.expm,
        lambda rng: (0.5 * normal(rng, 3, 3),),
    ),
    Entry(
        "lax_custom_root",
        "An implicit rule over a loop.",
        root_of_cubic,
        lambda rng: (normal(rng, 5),),
        cubic_formula,
    ),
    Entry(
        "lax_custom_linear_solve",
        "Solvers for the matrix and its transpose.",
        implicit_solve,
        lambda rng: (positive_definite(rng, 4), normal(rng, 4)),
        linalg.solve,
    ),
    Entry(
        "sparse_cg",
        "A while_loop within custom_linear_solve.",
        conjugate_gradients,
        lambda rng: (positive_definite(rng, 4), normal(rng, 4)),
        lambda a, b: linalg.solve((a + a.T) / 2, b),
    ),
]
