"""The verifier: what it ignores, what it catches, and how it says so."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from funcnn import ops, verify

X = np.array([0.3, 0.7, -0.4])
SCALE = np.array([1.5, -0.5, 2.0])


@jax.custom_vjp
def zero_gradient(x):
    return jnp.sin(x) * SCALE


zero_gradient.defvjp(lambda x: (jnp.sin(x) * SCALE, None), lambda _, dy: (0 * dy,))


def plain(x):
    return jnp.sin(x) * SCALE


# --- autodiff: custom rules erased ----------------------------------------------------


def same(x):
    return x


def under_scan(f):
    return lambda x: jax.lax.scan(lambda c, _: (f(c) + c, f(c)), x, None, length=3)


def under_while(f):
    return lambda x: jax.lax.while_loop(
        lambda c: c[0] < 2, lambda c: (c[0] + 1, f(c[1])), (0, x)
    )[1]


def under_cond(f):
    return lambda x: jax.lax.cond(x[0] > 0, lambda x: f(f(x)), lambda x: x, x)


def under_jit(f):
    return jax.jit(lambda x: jax.jit(f)(x) * f(x))


def under_checkpoint(f):
    return jax.checkpoint(lambda x: f(f(x)) * 2)


def under_vmap(f):
    return lambda x: jax.vmap(f)(jnp.stack([x, 2 * x]))


def under_another_rule(f):
    @jax.custom_vjp
    def outer(x):
        return f(x) * 2

    outer.defvjp(lambda x: (outer(x), None), lambda _, dy: (0 * dy,))
    return outer


def under_a_jvp_rule(f):
    @jax.custom_jvp
    def outer(x):
        return f(x) * 3

    outer.defjvp(lambda x, t: (outer(*x), 0 * t[0]))
    return lambda x: jax.nn.silu(outer(x))


def under_shard_map(f):
    mesh = Mesh(np.array(jax.devices()[:1]), ("i",))
    spec = PartitionSpec("i")
    return jax.shard_map(f, mesh=mesh, in_specs=(spec,), out_specs=spec)


WRAPPERS = [
    under_scan,
    under_while,
    under_cond,
    under_jit,
    under_checkpoint,
    under_vmap,
    under_another_rule,
    under_a_jvp_rule,
    under_shard_map,
]


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_autodiff_ignores_rules(wrap):
    erased, want = verify.autodiff(wrap(zero_gradient)), wrap(plain)
    if wrap in (under_another_rule, under_a_jvp_rule):
        want = {under_another_rule: lambda x: plain(x) * 2}.get(
            wrap, lambda x: jax.nn.silu(plain(x) * 3)
        )
    for run in (same, jax.jit):
        close(run(erased)(X), want(X))
        close(jax.jvp(run(erased), (X,), (SCALE,))[1], jax.jvp(want, (X,), (SCALE,))[1])
    if wrap is not under_while:
        close(jax.jacrev(erased)(X), jax.jacrev(want)(X))


def test_autodiff_leaves_a_third_partys_rules_out():
    f = verify.autodiff(lambda x: jax.nn.relu(x) + jax.nn.logsumexp(x))
    assert not verify._autodiff.has_rule(jax.make_jaxpr(f)(X))
    close(jax.jacfwd(f)(X), jax.jacrev(f)(X))


def test_autodiff_gives_hessians_of_models_with_rules():
    def loss(weight):
        y = ops.gelu(ops.dense(X[None], weight))
        return ops.softmax_cross_entropy(y, np.array([1])).sum()

    weight = np.random.default_rng(0).standard_normal((3, 4))
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jacfwd(loss)(weight)
    forward = jax.hessian(verify.autodiff(loss))(weight)
    close(forward, jax.jacrev(jax.jacrev(loss))(weight))


def test_autodiff_keeps_trees_static_values_and_closures():
    outer = jnp.asarray(SCALE)

    def f(tree, mode, *, power):
        assert mode == "mode"
        return {"y": zero_gradient(tree["x"] * outer) ** power, "none": None}

    got = verify.autodiff(f)({"x": jnp.asarray(X), "n": 3}, "mode", power=2)
    close(got["y"], plain(X * SCALE) ** 2)
    assert got["none"] is None
    grad = jax.grad(lambda s: verify.autodiff(lambda x: zero_gradient(s * x))(X).sum())(2.0)
    close(grad, jax.grad(lambda s: plain(s * X).sum())(2.0))


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


def close(got, want):
    jax.tree.map(lambda g, w: np.testing.assert_allclose(g, w, rtol=1e-12), got, want)
