"""What `check_vjp` does beyond comparing two gradients, one behaviour at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import verify
from funcnn.verify.claims._compare_arrays import off
from funcnn.verify.programs import _rounding

X = np.array([0.3, 0.7, -0.4])
SINGLE = X.astype(np.float32)


def rule(f, bwd, fwd=None):
    g = jax.custom_vjp(f)
    g.defvjp(fwd or (lambda *args: (f(*args), args)), bwd)
    return g


def failing(report):
    return {row.claim for row in report.rows if row.failure}


@pytest.fixture(autouse=True)
def as_users_have_it():
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        yield


# --- where the reference cannot help ---------------------------------------------------


def newton_root(a):
    """The square root, by Newton's method until it stands still."""

    def step(state):
        _, x = state
        return x, (x + a / x) / 2

    def moving(state):
        old, x = state
        return jnp.max(abs(x - old)) > 1e-15 * jnp.max(x)

    return jax.lax.while_loop(moving, step, (jnp.zeros_like(a), 1 + a))[1]


@pytest.mark.parametrize("factor, right", [(0.5, True), (0.51, False)])
def test_a_loop_without_reverse_mode_is_judged_by_forward_mode(factor, right):
    def bwd(y, dy):
        return (factor * dy / y,)

    f = rule(newton_root, bwd, lambda a: (newton_root(a),) * 2)
    report = verify.check_vjp(f, np.abs(X), claims=["vjp", "diff"])
    assert report.ok == right
    assert right or failing(report) == {"vjp", "diff"}


def test_what_only_the_rule_gets_finite_is_no_fault_and_is_told():
    def norm(x):
        return jnp.sqrt(jnp.sum(x**2))

    def bwd(r, dy):
        x, y = r
        return (dy * jnp.where(y == 0, 0, x / jnp.where(y == 0, 1, y)),)

    f = rule(norm, bwd, lambda x: (norm(x), (x, norm(x))))
    report = verify.check_vjp(f, np.zeros(3, np.float32), name="norm")
    assert report.ok, report
    assert any("cotangent of x is not finite in 3 of 3" in note for note in report.notes)


def test_nan_where_the_reference_has_none_is_a_fault():
    f = rule(jnp.abs, lambda r, dy: (dy * r[0] / jnp.abs(r[0]),))
    report = verify.check_vjp(f, np.array([0.0, 1.0]), name="magnitude")
    assert "vjp" in failing(report)
    assert "it is nan, should be" in " ".join(report.failures)


def test_a_function_that_refuses_float64_is_judged_in_float32():
    def sine(x):
        if x.dtype != jnp.float32:
            raise TypeError("sine takes float32")
        return jnp.sin(x)

    right = rule(sine, lambda r, dy: (jnp.cos(r[0]) * dy,))
    report = verify.check_vjp(right, SINGLE)
    assert report.ok, report
    assert "does not take float64 (sine takes float32)" in report.notes[0]
    wrong = rule(sine, lambda r, dy: (1.001 * jnp.cos(r[0]) * dy,))
    assert {"vjp", "diff"} <= failing(verify.check_vjp(wrong, SINGLE))


# --- arguments of every kind -----------------------------------------------------------


def test_complex_arguments_are_judged_by_their_parts():
    def power(z):
        return z.real**2 + z.imag**2

    z = np.array([1 + 2j, -0.5j, 0.3])
    right = rule(power, lambda r, dy: (2 * jnp.conj(r[0]) * dy,))
    assert verify.check_vjp(right, z).ok
    wrong = rule(power, lambda r, dy: (2 * r[0] * dy,))
    report = verify.check_vjp(wrong, z)
    assert [row.argument for row in report.rows if row.claim == "vjp"] == ["z.imag"]


@pytest.mark.parametrize("none", [lambda i: None, lambda i: np.zeros(2, jax.dtypes.float0)])
def test_an_integer_has_no_cotangent(none):
    def bwd(r, dy):
        x, i = r
        return jnp.zeros_like(x).at[i].add(dy), none(i)

    f = rule(lambda x, i: x[i], bwd)
    assert verify.check_vjp(f, SINGLE, np.array([0, 2], np.int32)).ok


def test_what_a_function_must_know_is_not_traced():
    def repeat(x, counts):
        return jnp.concatenate([x] * int(counts.sum()))

    f = jax.custom_vjp(lambda x: 2 * x)
    f.defvjp(lambda x: (2 * x, None), lambda _, dy: (2 * dy,))
    assert verify.check_vjp(lambda x, n: repeat(f(x), n), SINGLE, np.array([1, 1])).ok


def test_defaults_hide_nothing():
    def scaled(x, scale, offset):
        return x * scale**2 + offset

    def bwd(r, dy):  # right where scale is 1
        x, scale, _ = r
        return dy * scale, 2 * x * scale * dy, dy

    ones, zeros = np.ones(3, np.float32), np.zeros(3, np.float32)
    report = verify.check_vjp(rule(scaled, bwd), SINGLE, ones, zeros)
    assert "with other values in scale and offset than 0 or 1" in report.failures[0]
    assert report.rows[2].argument == "x"


# --- how it is asked -------------------------------------------------------------------


def test_claims_can_be_chosen():
    halved = rule(jnp.sin, lambda r, dy: (jnp.cos(r[0]) * dy / 2,))
    for claim in verify.CLAIMS:
        report = verify.check_vjp(halved, SINGLE, claims=[claim])
        assert [row.claim for row in report.rows] == [claim]
        assert report.ok == (claim not in ("vjp", "diff", "rev2", "fwd2")), claim
    assert verify.check_vjp(halved, SINGLE, claims="types").ok
    with pytest.raises(ValueError, match="no claim 'vpj'; the claims are rule, value"):
        verify.check_vjp(halved, SINGLE, claims=["vpj"])


def test_check_ops_stops_at_the_first_failure(monkeypatch):
    def failing_claim(evidence):
        raise AssertionError("no")

    monkeypatch.setitem(verify.CLAIMS, "types", failing_claim)
    report = verify.check_ops(["relu"], claims=["types"], fail_fast=True)
    assert len(report.rows) == 1
    assert len(verify.check_ops(["relu"], claims=["types"]).rows) > 1


def test_the_likely_fault_is_named():
    def product(a, b):
        return a @ b

    a, b = np.random.default_rng(0).standard_normal((2, 3, 3))
    halved = rule(product, lambda r, dy: (dy @ r[1].T, 0.5 * r[0].T @ dy))
    (row,) = verify.check_vjp(halved, a, b, claims=["vjp"]).rows
    assert (row.argument, row.fault) == ("b", "a constant factor of 1/2")
    assert row.failure.endswith("The likely fault: a constant factor of 1/2.")
    assert row.got == pytest.approx(0.5 * row.want)
    clipped = rule(jnp.sin, lambda r, dy: (jnp.clip(jnp.cos(r[0]) * dy, -1, 1),))
    (row,) = verify.check_vjp(clipped, X, claims=["vjp"]).rows
    assert row.fault == "it is not linear in the cotangent"


def test_a_rule_that_is_mended_is_judged_anew():
    f = jax.custom_vjp(jnp.sin)
    for factor, right in ((0.5, False), (1.0, True), (2.0, False)):
        f.defvjp(lambda x: (jnp.sin(x), x), lambda x, dy, c=factor: (c * jnp.cos(x) * dy,))
        assert verify.check_vjp(f, SINGLE, claims=["vjp"]).ok == right


# --- rounding --------------------------------------------------------------------------


def spread(f, *args):
    """The relative width that noise gives the outputs of `f`, in units of epsilon."""
    with jax.enable_x64(True):
        args = [jnp.asarray(a, jnp.float64) for a in args]
        size = _rounding.pool_size(f, *args)
        noise = np.random.default_rng(0).uniform(-1, 1, (24, size))
        y = jax.vmap(lambda n: _rounding.noisy(f)(n, _rounding.EPS, *args))(noise)
        return np.ptp(y, axis=0) / np.abs(f(*args)) / _rounding.EPS


def test_noise_shows_how_many_digits_cancel():
    x = np.array([1e3, 1e6, 1e9])
    lost = spread(lambda x: (x + 1) - x, x)
    assert (lost > x).all()
    assert (lost < 100 * x).all()
    assert spread(lambda x: 2.0 * x + x, x).max() < 200


def test_noise_goes_into_loops_branches_and_calls():
    def inner(x):
        y, _ = jax.lax.scan(lambda c, x: (c + x, None), 0.0 * x[0], x)
        y = jax.lax.cond(y > 0, lambda y: y * 3, lambda y: y, y)
        return jax.lax.fori_loop(0, 3, lambda _, y: y * 1.5, y)

    loop = jax.lax.while_loop
    for f in (
        inner,
        jax.jit(inner),
        jax.checkpoint(inner),
        lambda x: loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, 2.5 * s[1]), (0, x[0]))[1],
    ):
        assert 1 < spread(f, np.array([1.0, 2.0, 3.0])) < 1000


def test_noise_moves_an_argument_at_a_kink_to_both_sides():
    with jax.enable_x64(True):
        x = jnp.array([0.0, 1.0])
        slope = jax.grad(lambda x: jnp.maximum(x, 0).sum())
        noise = np.random.default_rng(0).uniform(-1, 1, (4, 2000))
        both = np.concatenate([noise, -noise])
        found = jax.vmap(lambda n: _rounding.noisy(slope)(n, _rounding.EPS, x))(both)
        found = np.asarray(found)
    np.testing.assert_allclose(found.min(0), [0, 1], atol=1e-12)
    np.testing.assert_allclose(found.max(0), [1, 1], atol=1e-12)


def test_coarsest_sees_float32_inside():
    with jax.enable_x64(True):
        x = jnp.ones(3)
        plain = jax.make_jaxpr(lambda x: x * 2)(x)
        inside = jax.make_jaxpr(lambda x: jax.jit(lambda x: x.astype(jnp.float32))(x))(x)
        aside = jax.make_jaxpr(lambda x: x * jnp.float32(2).astype(float))(x)
    assert _rounding.coarsest(plain) == _rounding.EPS == _rounding.coarsest(aside)
    assert _rounding.coarsest(inside) == np.finfo(np.float32).eps


def test_elements_are_compared_each_on_its_own():
    want = np.array([1e10, 1.0])
    assert off(want * (1 + 1e-12), want)[0].tolist() == [False, False]
    assert off(want + np.array([0, 1e-2]), want)[0].tolist() == [False, True]
    assert off([np.nan, 1.0], want)[0].tolist() == [True, False]
    assert off(want, [np.inf, np.nan])[0].tolist() == [False, False]
    rows = np.array([[1e10], [1.0]])
    assert off(rows + np.array([[0], [1e-4]]), rows, rows=True)[0].any()
