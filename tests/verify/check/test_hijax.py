"""Primitives of a user's own, with rules, in JAX's experimental hijax."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import hijax

from funcnn import verify

Primitive = getattr(hijax, "VJPHiPrimitive", None) or hijax.HiPrim
X = np.random.default_rng(0).standard_normal((2, 3))


class Cube(Primitive):
    def __init__(self, aval, factor):
        self.in_avals, self.out_aval = (aval,), aval
        self.params = {"factor": factor}
        super().__init__()

    def expand(self, x):
        return x * x * x

    def vjp_fwd(self, nonzero, x):
        return self(x), x

    def vjp_bwd_retval(self, x, dy):
        return (self.factor * x * x * dy,)

    def batch(self, axis, args, dims):
        return cube(*args, self.factor), *dims


def cube(x, factor=3.0):
    x = jnp.asarray(x)
    return Cube(jax.typeof(x), factor)(x)


def test_a_primitives_rule_is_judged():
    claims = ("rule", "value", "vjp", "diff", "remat")
    right = verify.check_vjp(cube, X, claims=claims)
    assert right.ok, str(right)
    assert "a primitive has no rule for jvp" in str(right)
    wrong = verify.check_vjp(functools.partial(cube, factor=2.0), X, claims=claims)
    assert {row.claim for row in wrong.rows if row.failure} == {"vjp", "diff"}


def test_a_primitive_is_differentiated_by_what_it_expands_to():
    plain = verify.autodiff(lambda x: cube(cube(x, 2.0), 2.0).sum())
    np.testing.assert_allclose(jax.grad(plain)(X), 9 * X**8, rtol=1e-12)
    np.testing.assert_allclose(jax.jvp(plain, [X], [X])[1], 9 * (X**9).sum(), rtol=1e-12)


def test_what_jax_has_of_the_kind_is_no_rule():
    report = verify.check_vjp(jax.checkpoint(jnp.sin), X, claims=("rule",))
    assert not report.ok or "no custom rule" in str(report)
