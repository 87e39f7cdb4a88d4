"""The verifier: what it catches, and how it says so."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import ops, verify

X = np.array([0.3, 0.7, -0.4])


# --- check_vjp ------------------------------------------------------------------------


def rule(f, bwd, fwd=None):
    @jax.custom_vjp
    @functools.wraps(f)
    def g(*args):
        return f(*args)

    g.defvjp(fwd or (lambda *args: (f(*args), args)), bwd)
    return g


def test_a_right_rule_passes_without_a_reference():
    report = verify.check_vjp(rule(jnp.sin, lambda r, dy: (jnp.cos(r[0]) * dy,)), X)
    assert report.ok
    assert report.failures == []
    report.raise_if_failed()
    assert [row.claim for row in report.rows] == list(verify.CLAIMS)


def test_float32_and_no_x64_are_no_obstacle():
    with jax.enable_x64(False):
        f = rule(jnp.sin, lambda r, dy: (jnp.cos(r[0]) * dy,))
        assert verify.check_vjp(f, jnp.asarray(X, jnp.float32)).ok
        assert not jax.config.jax_enable_x64


def product(a, b):
    return a @ b


A, B = np.random.default_rng(0).standard_normal((2, 3, 3))
WRONG = {
    "factor": (lambda r, dy: (dy @ r[1].T, 1.0001 * (r[0].T @ dy)), {"vjp", "diff"}),
    "transposed": (lambda r, dy: (dy @ r[1], r[0].T @ dy), {"vjp", "diff"}),
    "swapped": (lambda r, dy: (r[0].T @ dy, dy @ r[1].T), {"vjp", "diff"}),
    "dtype": (lambda r, dy: (dy @ r[1].T, (r[0].T @ dy).astype(jnp.float32)), {"types"}),
    "second order": (
        lambda r, dy: (dy @ jax.lax.stop_gradient(r[1]).T, r[0].T @ dy),
        {"rev2", "fwd2"},
    ),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_rule_fails_the_claims_it_breaks(fault):
    bwd, broken = WRONG[fault]
    report = verify.check_vjp(rule(product, bwd), A, B, reference=product, name="product")
    assert not report.ok
    failed = {row.claim for row in report.rows if row.failure}
    assert broken <= failed
    if fault in ("dtype", "second order"):
        assert "diff" not in failed
    with pytest.raises(AssertionError, match="product"):
        report.raise_if_failed()


def test_each_argument_is_judged_on_its_own_scale():
    def f(a, b):
        return 1e9 * a + b

    faulty = rule(f, lambda r, dy: (1e9 * dy, 1.01 * dy))
    failures = verify.check_vjp(faulty, X, X, reference=f).failures
    assert failures
    assert all("of b " in failure for failure in failures if "cotangent of" in failure)


def test_a_forward_rule_that_returns_another_value_fails():
    f = rule(
        jnp.sin, lambda r, dy: (jnp.cos(r[0]) * dy,), lambda x: (jnp.sin(x) + 1e-6, (x,))
    )
    report = verify.check_vjp(f, X, name="sine")
    assert "sine, by its forward rule" in report.failures[0]


def test_no_rule_is_noted_and_is_a_failure_of_an_op():
    report = verify.check_vjp(jnp.sin, X)
    assert report.ok
    assert "sin runs no custom rule" in report.notes[0]
    rows = verify.judge(verify.Op("sin", jnp.sin, jnp.sin, None), "", (X,))
    assert "sin runs no custom rule" in rows[0].failure


def calls_itself(slope):
    @jax.custom_vjp
    def f(x):
        return jnp.tanh(x)

    def fwd(x):
        y = f(x)
        return y, y

    f.defvjp(fwd, lambda y, dy: (slope(y) * dy,))
    return f


def test_a_forward_rule_may_call_its_function_though_jax_then_refuses_forward_mode():
    f = calls_itself(lambda y: 1 - y**2)
    assert verify.check_vjp(f, X).ok
    op = verify.Op("f", f, jnp.tanh, None)
    (failed,) = [row for row in verify.judge(op, "", (X,)) if row.failure]
    assert failed.claim == "fwd2"
    assert "raises TypeError: can't apply forward-mode" in failed.failure
    wrong = verify.check_vjp(calls_itself(lambda y: jax.lax.stop_gradient(1 - y**2)), X)
    assert {row.claim for row in wrong.rows if row.failure} == {"rev2", "fwd2"}


def test_a_rule_that_raises_fails_by_name():
    def bwd(r, dy):
        raise RuntimeError("no such thing")

    report = verify.check_vjp(rule(jnp.sin, bwd), X, name="sine")
    assert not report.ok
    assert "raises RuntimeError: no such thing" in report.failures[0]


def test_kinks_allow_what_lies_between():
    x = np.array([-1.0, 0.0, 2.0])
    for at_zero, ok in ((0.0, True), (0.3, True), (1.0, True), (-0.1, False), (1.1, False)):
        f = rule(
            lambda x: jnp.maximum(x, 0),
            lambda r, dy, at=at_zero: (
                dy * jnp.where(r[0] == 0, at, jnp.heaviside(r[0], 0)),
            ),
        )
        (row,) = [r for r in verify.check_vjp(f, x).rows if r.claim == "diff"]
        assert (row.failure is None) == ok, (at_zero, row)


def test_trees_integers_and_static_values_are_arguments_too():
    def f(params, ids, mode):
        assert mode == "sum"
        return {"y": params["table"][ids] * params["scale"]}

    def bwd(r, dy):
        params, ids = r
        grad = dy["y"] * params["scale"]
        table = jnp.zeros_like(params["table"]).at[ids].add(grad)
        scale = (params["table"][ids] * dy["y"]).sum(0)
        return {"table": table, "scale": scale}, None

    g = functools.partial(jax.custom_vjp, nondiff_argnums=(2,))(f)
    g.defvjp(lambda p, i, m: (f(p, i, m), (p, i)), lambda m, r, dy: bwd(r, dy))
    args = ({"table": A, "scale": X}, np.array([0, 2, 2]), "sum")
    assert verify.check_vjp(g, *args).ok
    h = functools.partial(jax.custom_vjp, nondiff_argnums=(2,))(f)
    h.defvjp(
        lambda p, i, m: (f(p, i, m), (p, i)),
        lambda m, r, dy: ({**bwd(r, dy)[0], "scale": X}, None),
    )
    failures = verify.check_vjp(h, *args, name="lookup").failures
    assert "params['scale']" in failures[0]
    assert "params['table']" not in " ".join(failures[:2])


def test_a_single_wrong_element_of_a_large_array_is_found():
    x = np.random.default_rng(0).standard_normal(20_000)
    f = rule(
        jnp.sin,
        lambda r, dy: (jnp.cos(r[0]) * dy * (1 + jnp.zeros(20_000).at[777].set(0.1)),),
    )
    rows = {r.claim: r.failure for r in verify.check_vjp(f, x).rows}
    assert "[777]" in rows["vjp"]
    assert rows["diff"]


def test_nothing_to_differentiate_is_an_error():
    with pytest.raises(TypeError, match="no floating-point array in its arguments"):
        verify.check_vjp(lambda n: n * 2, np.array([1, 2]))
    with pytest.raises(TypeError, match="no floating-point array in its output"):
        verify.check_vjp(lambda x: x > 0, X)


# --- compare, check_ops ---------------------------------------------------------------


def model_loss(params, x, dense=ops.dense):
    return jnp.mean(ops.tanh(dense(x, params["weight"], params["bias"])) ** 2)


def test_compare_judges_a_model_leaf_by_leaf():
    params = {"weight": A, "bias": X}
    report = verify.compare(model_loss, params, B)
    assert report.ok
    assert {row.subject for row in report.rows} == {
        "model_loss", "params['weight']", "params['bias']", "x",
    }  # fmt: skip
    faulty = rule(ops.dense.fun, lambda r, dy: (dy @ r[1].T, r[0].T @ dy, 0.5 * dy.sum(0)))
    report = verify.compare(functools.partial(model_loss, dense=faulty), params, B)
    assert {row.subject for row in report.rows if row.failure} == {"params['bias']"}


def test_compare_takes_auxiliary_output_and_wants_a_scalar():
    assert verify.compare(
        lambda p, x: (model_loss(p, x), x), {"weight": A, "bias": X}, B
    ).ok
    with pytest.raises(ValueError, match="compare needs a scalar loss; got shape"):
        verify.compare(lambda x: x, X)
    with pytest.raises(TypeError, match="compare needs a floating-point array"):
        verify.compare(lambda n: n, np.array(1))


def test_an_unknown_op_is_named_with_those_there_are():
    with pytest.raises(ValueError, match=r"no op 'dens'; the ops are .*dense"):
        verify.check_ops(["dens"])
