"""`verify.autodiff`: custom rules erased wherever they are, and nothing else changed."""

import dataclasses
import functools
import inspect
import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import checkify
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jax.sharding import Mesh, PartitionSpec

from funcnn import ops, verify
from funcnn.verify.functions._autodiff import _erase, has_rule

X = np.array([0.3, 0.7, -0.4])
SCALE = np.array([1.5, -0.5, 2.0])


def plain(x):
    return jnp.sin(x) * SCALE.astype(x.dtype)


@jax.custom_vjp
def zero_gradient(x):
    return plain(x)


zero_gradient.defvjp(lambda x: (plain(x), None), lambda _, dy: (0 * dy,))


@jax.custom_jvp
def zero_tangent(x):
    return plain(x)


zero_tangent.defjvp(lambda x, t: (plain(*x), 0 * t[0]))


def close(got, want):
    jax.tree.map(lambda g, w: np.testing.assert_allclose(g, w, rtol=1e-12), got, want)


# --- where rules may be -----------------------------------------------------------------


def with_rule(f, **options):
    """`f` with a wrong rule of its own around whatever it calls."""
    g = jax.custom_vjp(f)
    fwd = (lambda x: (f(x.value), None)) if options.get("symbolic_zeros") else None
    g.defvjp(fwd or (lambda x: (f(x), None)), lambda _, dy: (0 * dy,), **options)
    return g


def under_scan(f):
    return lambda x: jax.lax.scan(lambda c, _: (f(c) + c, f(c)), x, None, length=3)


def under_while(f):
    return lambda x: jax.lax.while_loop(
        lambda c: f(c[1])[0] < 1.2 - c[0], lambda c: (c[0] + 1, f(c[1])), (0, x)
    )[1]


def under_fori(f):
    return lambda x: jax.lax.fori_loop(0, 2, lambda i, c: f(c) * i, x)


def under_cond(f):
    return lambda x: jax.lax.cond(x[0] > 0, lambda x: f(f(x)), lambda x: x, x)


def under_switch(f):
    return lambda x: jax.lax.switch(jnp.argmax(x), [jnp.cos, lambda x: f(x) * x, f], x)


def under_associative_scan(f):
    return lambda x: jax.lax.associative_scan(
        lambda a, b: jax.vmap(f)(a) + b, jnp.stack([x, 2 * x, 3 * x])
    )


def under_jit(f):
    return jax.jit(lambda x: jax.jit(f)(x) * f(x))


def under_donation(f):
    return lambda x: jax.jit(f, donate_argnums=0)(x * 2)


def under_checkpoint(f):
    return jax.checkpoint(lambda x: f(f(x)) * 2)


def under_checkpoint_with_a_policy(f):
    policy = jax.checkpoint_policies.save_only_these_names("y")
    return jax.checkpoint(lambda x: f(checkpoint_name(f(x), "y")) * 2, policy=policy)


def under_vmap(f):
    return lambda x: jax.vmap(f)(jnp.stack([x, 2 * x]))


def under_a_batching_rule(f):
    @jax.custom_batching.custom_vmap
    def g(x):
        return f(x)

    g.def_vmap(lambda size, batched, x: (jax.vmap(f)(x), True))
    return lambda x: g(x) + jax.vmap(g)(x[None])[0]


def under_a_linear_solve(f):
    def g(x):
        d = 2 + f(x)

        def solve(matvec, b):
            return b / d

        return jax.lax.custom_linear_solve(
            lambda y: (2 + f(x)) * y, x, solve, transpose_solve=solve
        )

    return g


def under_names(f):
    def g(x):
        with jax.named_scope("inside"):
            return jax.named_call(f, name="called")(x)

    return g


def under_shard_map(f):
    mesh = Mesh(np.array(jax.devices()[:1]), ("i",))
    spec = PartitionSpec("i")
    return jax.shard_map(f, mesh=mesh, in_specs=(spec,), out_specs=spec)


def under_many(f):
    def body(c, _):
        return jax.jit(jax.checkpoint(f))(c), jax.vmap(f)(c[None])

    return jax.jit(lambda x: jax.lax.scan(body, x, None, length=2))


def with_effects(f):
    def g(x):
        jax.debug.callback(lambda _: None, x)
        return f(x)

    return g


def with_mutation(f):
    def g(x):
        ref = jax.new_ref(jnp.zeros_like(x))
        ref[...] = f(x)
        ref[...] += f(x)
        return ref[...]

    return g


def with_random_numbers(f):
    def g(x):
        key = jax.random.key(0)
        return f(x) * jax.random.normal(key, x.shape)

    return g


WRAPPERS = [f for name, f in globals().items() if name.startswith(("under_", "with_"))]
WRAPPERS.remove(with_rule)


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_autodiff_ignores_rules(wrap):
    want = jax.jvp(wrap(plain), (X,), (SCALE,))
    for f in (zero_gradient, zero_tangent):
        erased = verify.autodiff(wrap(f))
        assert has_rule(jax.make_jaxpr(wrap(f))(X))
        assert not has_rule(jax.make_jaxpr(erased)(X))
        close(jax.jvp(erased, (X,), (SCALE,)), want)
    close(erased(X), want[0])
    close(jax.jvp(jax.jit(erased), (X,), (SCALE,)), want)
    # JAX has no reverse mode for a while loop, nor for a batching rule
    if wrap not in (under_while, under_a_batching_rule):
        close(jax.jacrev(erased)(X), jax.jacrev(wrap(plain))(X))


RULES = {
    "plain": {},
    "symbolic zeros": {"symbolic_zeros": True},
    "optimize_remat": {"optimize_remat": True},
    "generic batching": {"generic_batching": True},
}


@pytest.mark.parametrize("kind", RULES)
def test_autodiff_ignores_every_kind_of_rule(kind):
    options = RULES[kind]
    if not options.keys() <= inspect.signature(jax.custom_vjp.defvjp).parameters.keys():
        pytest.skip("this JAX has no such rules")
    f = with_rule(lambda x: zero_tangent(x) * x, **options)
    for outer in (f, with_rule(lambda x: f(f(x))), under_many(f)):
        assert has_rule(jax.make_jaxpr(outer)(X))
    erased = verify.autodiff(under_many(with_rule(lambda x: f(f(x)), **options)))
    want = under_many(lambda x: plain(plain(x) * x) * plain(x) * x)
    close(jax.jacfwd(erased)(X), jax.jacfwd(want)(X))
    close(jax.jacrev(erased)(X), jax.jacrev(want)(X))


def test_autodiff_ignores_rules_in_rules():
    @jax.custom_jvp
    def g(x):
        return with_rule(lambda x: zero_tangent(x) + zero_gradient(x))(x) * 3

    g.defjvp(lambda x, t: (g(*x), 0 * t[0]))
    erased = verify.autodiff(lambda x: jax.nn.silu(with_rule(g)(x)))
    close(jax.jacfwd(erased)(X), jax.jacrev(lambda x: jax.nn.silu(plain(x) * 6))(X))


def test_autodiff_ignores_rules_in_batching_rules():
    @jax.custom_batching.custom_vmap
    def g(x):
        return plain(x)

    g.def_vmap(lambda size, batched, x: (jax.vmap(zero_gradient)(x), batched[0]))
    f, pair = jax.vmap(verify.autodiff(lambda x: g(x))), jnp.stack([X, 2 * X])
    close(jax.jvp(f, (pair,), (pair,)), jax.jvp(jax.vmap(plain), (pair,), (pair,)))


def test_autodiff_ignores_rules_with_functions_and_numbers_for_arguments():
    @functools.partial(jax.custom_vjp, nondiff_argnums=(0, 2))
    def g(f, x, power):
        return f(x) ** power

    g.defvjp(lambda f, x, power: (g(f, x, power), None), lambda f, p, _, dy: (0 * dy,))
    erased = verify.autodiff(lambda x: g(zero_tangent, x, 2))
    close(jax.jacfwd(erased)(X), jax.jacfwd(lambda x: plain(x) ** 2)(X))


def test_autodiff_composes_with_every_transformation():
    f, pair = verify.autodiff(under_many(zero_gradient)), jnp.stack([X, 2 * X])
    want = under_many(plain)
    close(jax.vmap(f)(pair), jax.vmap(want)(pair))
    close(jax.vmap(jax.jacrev(f))(pair), jax.vmap(jax.jacrev(want))(pair))
    close(jax.linearize(f, X)[1](SCALE), jax.linearize(want, X)[1](SCALE))
    close(jax.hessian(f)(X), jax.hessian(want)(X))
    close(jax.jacrev(verify.autodiff(f))(X), jax.jacrev(want)(X))
    rows = jax.lax.scan(lambda _, x: (None, jax.jvp(f, (x,), (x,))[1]), None, pair)[1]
    close(rows, jax.vmap(lambda x: jax.jvp(want, (x,), (x,))[1])(pair))
    with jax.checking_leaks():
        close(jax.jit(f)(X), want(X))


def test_autodiff_on_eight_devices():
    program = """
        import jax, jax.numpy as jnp, numpy as np
        from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
        from funcnn import verify

        @jax.custom_vjp
        def sine(x):
            return jnp.sin(x)

        sine.defvjp(lambda x: (sine(x), None), lambda _, dy: (0 * dy,))

        def model(f):
            return lambda x: f(x) * jax.lax.psum(f(x).sum(), "i")

        def sharded(f):
            return jax.shard_map(f, mesh=mesh, in_specs=P("i"), out_specs=P("i"))

        mesh = Mesh(np.array(jax.devices()), ("i",))
        x = jnp.linspace(-1, 1, 16)
        want = sharded(model(jnp.sin))
        for f in (sharded(model(sine)), jax.jit(sharded(model(sine)))):
            f = verify.autodiff(f)
            inside = sharded(verify.autodiff(model(sine)))
            for g in (f, jax.jit(f), inside):
                slopes = (jax.jvp(g, (x,), (x,))[1], jax.jvp(want, (x,), (x,))[1])
                np.testing.assert_allclose(*slopes, rtol=1e-4)
                np.testing.assert_allclose(
                    jax.jacrev(g)(x), jax.jacrev(want)(x), rtol=1e-4, atol=1e-6
                )
        s = jax.device_put(x, NamedSharding(mesh, P("i")))
        assert verify.autodiff(sine)(s).sharding == s.sharding
        print("as it should be")
    """
    flags = "--xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True, text=True, env={**os.environ, "XLA_FLAGS": flags},
    )  # fmt: skip
    assert done.stdout == "as it should be\n", done.stderr


# --- whose rules -----------------------------------------------------------------------


def test_autodiff_leaves_a_third_partys_rules_out():
    def f(x):
        return jax.nn.relu(x) + jax.nn.logsumexp(x) + jnp.sinc(x) + jax.nn.silu(x)

    erased = verify.autodiff(f)
    assert has_rule(jax.make_jaxpr(f)(X))
    assert not has_rule(jax.make_jaxpr(erased)(X))
    close(jax.jacfwd(erased)(X), jax.jacrev(erased)(X))


def test_autodiff_gives_hessians_of_models_with_rules():
    def loss(weight):
        y = ops.gelu(ops.dense(X[None], weight))
        return ops.softmax_cross_entropy(y, np.array([1])).sum()

    weight = np.random.default_rng(0).standard_normal((3, 4))
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jacfwd(loss)(weight)
    forward = jax.hessian(verify.autodiff(loss))(weight)
    close(forward, jax.jacrev(jax.jacrev(loss))(weight))


def root(f):
    """Where x + f(x) / 10 is `a`, by bisection: autodiff of that would give 0."""

    def bisect(g, _):
        def halve(_, ends):
            low, high = ends
            middle = (low + high) / 2
            below = g(middle) < 0
            return jnp.where(below, middle, low), jnp.where(below, high, middle)

        ends = (jnp.full(3, -9.0), jnp.full(3, 9.0))
        return jax.lax.fori_loop(0, 60, halve, ends)[0]

    def solve_tangent(g, y):
        return jnp.linalg.solve(jax.jacobian(g)(y), y)

    return lambda a: jax.lax.custom_root(
        lambda x: x + f(x) / 10 - a, jnp.zeros(3), bisect, solve_tangent
    )


def test_autodiff_keeps_the_derivatives_of_roots():
    erased = verify.autodiff(lambda a: root(plain)(zero_gradient(a)))
    assert not has_rule(jax.make_jaxpr(erased)(X))
    want = jax.jacrev(lambda a: root(plain)(plain(a)))(X)
    close(jax.jacfwd(erased)(X), want)
    close(jax.jacrev(erased)(X), want)


@pytest.mark.skipif(jax.__version_info__ < (0, 12), reason="rules stay in force there")
def test_autodiff_ignores_rules_in_the_equation_of_a_root():
    want = jax.jacrev(root(plain))(X)
    for f in (zero_gradient, zero_tangent):
        close(jax.jacfwd(verify.autodiff(root(f)))(X), want)


def test_derivatives_taken_inside_are_taken_by_the_rules():
    f = verify.autodiff(lambda x: jax.grad(lambda y: zero_gradient(y).sum())(x))
    close(f(X), 0 * X)


# --- arguments and results -------------------------------------------------------------


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


def test_what_is_no_array_is_returned_as_it_is():
    got = verify.autodiff(lambda x: (None, "name", 3, plain, x, [True, x.shape]))(
        jnp.asarray(X)
    )
    assert got[:4] == (None, "name", 3, plain)
    assert isinstance(got[4], jax.Array)
    assert got[5] == [True, (3,)]
    assert jax.jit(lambda x: verify.autodiff(lambda x: 2 * len(x))(x))(X) == 6
    assert verify.autodiff(lambda x: None)(X) is None


def test_static_fields_of_classes_stay():
    @jax.tree_util.register_dataclass
    @dataclasses.dataclass
    class Model:
        weight: jax.Array
        activation: object = dataclasses.field(metadata={"static": True})

        def __call__(self, x):
            return self.activation(x * self.weight)

    model = Model(jnp.asarray(SCALE), zero_gradient)
    same, y = verify.autodiff(lambda m, x: (m, m(x)))(model, X)
    assert same.activation is zero_gradient
    close(y, plain(X * SCALE))
    got = jax.jacfwd(lambda m: verify.autodiff(m)(X))(model).weight
    close(got, jax.jacfwd(lambda w: plain(X * w))(SCALE))


@pytest.mark.parametrize("x64", [True, False])
def test_dtypes_and_weak_types_are_those_of_the_function(x64):
    def f(x, n):
        count, key = n + 1, jax.random.split(jax.random.key(n))[0]
        return zero_gradient(x), jax.nn.relu(x * 2), 1.0 * zero_tangent(x), count, key

    with jax.enable_x64(x64):
        for x in (jnp.asarray(X), jnp.asarray(X, jnp.bfloat16), jax.lax.full((3,), 0.5)):
            n = jnp.asarray(3, jnp.int32)
            got, want = jax.eval_shape(verify.autodiff(f), x, n), jax.eval_shape(f, x, n)
            assert [(y.dtype, y.weak_type) for y in got] == [
                (y.dtype, y.weak_type) for y in want
            ]
            run = verify.autodiff(f)(x, n)
            assert [y.dtype for y in run] == [y.dtype for y in want]


def test_keys_integers_and_booleans_are_arguments_too():
    def f(key, index, mask, x):
        y = zero_gradient(x)[index] * mask.astype(x.dtype)
        return y + jax.random.normal(key, y.shape), key

    args = (jax.random.key(3), np.array([2, 0]), np.array([True, False]), jnp.asarray(X))
    got, want = verify.autodiff(f)(*args), f(*args)
    close(got[0], want[0])
    assert got[1] == want[1]


def test_a_rule_may_return_its_arguments_and_constants():
    def body(x, y):
        return x, 1.0, y, y, plain(x)

    g = jax.custom_vjp(body)
    g.defvjp(lambda *args: (body(*args), None), lambda _, dys: (0 * dys[0], 0 * dys[0]))

    def loop(f):
        def step(c, _):
            return f(c, c)[4] + f(f(c, c)[0], c)[4], f(c, 3.0)[:3]

        return lambda x: jax.lax.scan(step, x, None, length=2)

    got, want = (jax.jvp(h, (X,), (X,)) for h in (verify.autodiff(loop(g)), loop(body)))
    close(got, want)


def test_a_rule_may_change_a_reference():
    @jax.custom_vjp
    def g(ref, x):
        ref[...] = x
        return plain(x) * ref[...]

    g.defvjp(lambda ref, x: (g(ref, x), None), lambda _, dy: (None, 0 * dy))
    for run in (lambda f: f, jax.jit):
        ref = jax.new_ref(jnp.zeros(3))
        close(run(verify.autodiff(g))(ref, X), plain(X) * X)
        close(ref[...], X)


def test_effects_happen_once_a_call():
    calls = []

    def f(x):
        jax.debug.callback(lambda _: calls.append(1), x, ordered=True)
        return zero_gradient(x)

    verify.autodiff(f)(X)
    jax.effects_barrier()
    assert len(calls) == 1

    def checked(x):
        checkify.check(x[0] > 0, "negative")
        return zero_gradient(x)

    check = checkify.checkify(verify.autodiff(checked))
    assert check(jnp.asarray(X))[0].get() is None
    assert "negative" in check(jnp.asarray(-X))[0].get()


def test_what_a_function_raises_is_its_own():
    def f(x):
        raise ValueError("no such thing")

    with pytest.raises(ValueError, match="no such thing") as raised:
        verify.autodiff(f)(X)
    assert raised.value.args == ("no such thing",)
    with pytest.raises(jax.errors.TracerBoolConversionError):
        verify.autodiff(lambda x: x if x[0] > 0 else -x)(X)


# --- jaxprs ----------------------------------------------------------------------------


def test_jaxprs_without_rules_stay_the_same_objects():
    no_rule = jax.jit(jnp.cos)
    before = jax.make_jaxpr(lambda x: no_rule(jax.jit(zero_gradient)(x)))(X).jaxpr
    after = _erase(before, {})
    inside = [
        [e.params["jaxpr"] for e in jaxpr.eqns if "jaxpr" in e.params]
        for jaxpr in (before, after)
    ]
    (rule_before, cos_before), (rule_after, cos_after) = inside
    assert cos_after is cos_before
    assert rule_after is not rule_before
    assert _erase(after, {}) is after


@pytest.mark.parametrize("f", [zero_gradient, jnp.cos])
def test_jaxprs_that_are_shared_are_looked_at_once(f):
    for _ in range(40):  # 2**40 calls of f
        f = jax.jit(lambda x, f=f: f(x) + f(x))
    assert not has_rule(jax.make_jaxpr(verify.autodiff(f))(X))


def test_a_rules_function_may_hold_constant_arrays():
    rule = with_rule(jnp.sin)
    outer = jax.make_jaxpr(lambda x: rule(x) * 2)(X)
    inner = jax.make_jaxpr(lambda x: x * jnp.asarray(SCALE) * jnp.asarray(SCALE)[0])(X)
    call, *rest = outer.jaxpr.eqns
    call = call.replace(params={**call.params, "call_jaxpr": inner})
    erased = _erase(outer.jaxpr.replace(eqns=[call, *rest]), {})
    (y,) = jax.jit(jaxpr_as_fun(ClosedJaxpr(erased, outer.consts)))(X)
    close(y, X * SCALE * SCALE[0] * 2)
