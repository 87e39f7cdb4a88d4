"""Operations one by one, by NumPy: what JAX makes of them without `jit`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import verify
from funcnn.verify.functions._cotangents import pullback
from funcnn.verify.programs import _numbers
from funcnn.verify.programs._one_by_one import one_by_one

X = jnp.asarray(np.random.default_rng(0).standard_normal((3, 4)))


FUNCTIONS = {
    "elementwise": lambda x: jnp.where(x > 0, jnp.tanh(x) * 3, x / 2),
    "products": lambda x: jax.nn.softmax(x @ x.T) @ x,
    "a loop": lambda x: jax.lax.scan(lambda c, r: (c + r, c * r), x[0], x)[1],
    "a program": jax.jit(lambda x: jnp.sort(x, 0)[::-1] * jnp.arange(4)),
    "keys": lambda x: x * jax.random.bernoulli(jax.random.key(1), 0.5, x.shape),
    "at": lambda x: x.at[1:, ::2].set(7.0).sum(0, keepdims=True),
    "a matrix that NumPy has no rule for": lambda x: jnp.linalg.qr(x)[1],
    "numbers without a dtype": lambda x: x * jnp.sqrt(2.0 * jnp.asarray(3.0)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients_are_those_of_jax(name):
    f = FUNCTIONS[name]
    with jax.numpy_dtype_promotion("standard"):
        got = one_by_one(lambda: (f(X), pullback(lambda x: [f(x)], [X], [f(X)])))
        want = f(X), pullback(lambda x: [f(x)], [X], [f(X)])
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert isinstance(a, jax.Array)
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_numbers_are_there_to_be_looked_at():
    assert one_by_one(lambda: X * 2 if float(X.sum()) < 1e6 else X).shape == X.shape


def test_nothing_is_traced_or_compiled():
    seen, compiled = [], []
    listen = lambda name, *_, **__: compiled.append(name)  # noqa: E731
    jax.monitoring.register_event_duration_secs_listener(listen)

    def f(x):
        y = x * 2.5 + jnp.arange(12.0).reshape(3, 4)[:, ::-1]
        seen.extend([x, y])
        return y

    one_by_one(lambda: f(X))
    jax.monitoring.clear_event_listeners()
    assert not any(isinstance(a, jax.core.Tracer) for a in seen)
    assert not [name for name in compiled if "backend_compile" in name]


def ruled(bwd):
    f = jax.custom_vjp(lambda x: jnp.sin(x))
    f.defvjp(lambda x: (jnp.sin(x), x), bwd)
    return f


def traced(a):
    return isinstance(a, jax.core.Tracer)


def test_a_rule_that_is_wrong_without_jit_alone_is_caught():
    f = ruled(lambda x, dy: ((dy if traced(dy) else 1.001 * dy) * jnp.cos(x),))
    report = verify.check_vjp(f, np.array([0.3, 2.0]), reference=jnp.sin)
    assert [row.claim for row in report.rows if row.failure] == ["jit"]
    assert "run without jit" in str(report)


def test_what_raises_here_is_run_by_jax(monkeypatch):
    calls = []

    def broken(f):
        calls.append(f)
        raise NotImplementedError

    monkeypatch.setattr(_numbers, "one_by_one", broken)
    f = ruled(lambda x, dy: (dy * jnp.cos(x),))
    assert verify.check_vjp(f, np.array([0.3, 2.0]), reference=jnp.sin).ok
    assert len(calls) == 1
