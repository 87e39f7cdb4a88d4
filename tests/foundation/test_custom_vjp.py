"""A function with a rule, called with arrays: fast, and else as with `jax.custom_vjp`."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn.foundation._checks import float_arrays
from funcnn.foundation._custom_vjp import custom_vjp


def power_fwd(x, n):
    if not isinstance(n, int | tuple):
        raise TypeError(f"power needs an integer n; got {n!r}.")
    if isinstance(n, tuple) and any(type(k) is not int for k in n):
        raise TypeError(f"power needs integers; got {n!r}.")
    TRACED.append((n, x))
    (x,) = float_arrays("power", x=x)
    return x ** (n if isinstance(n, int) else n[0]), (x,)


def power_bwd(n, residuals, dy):
    (x,) = residuals
    TRACED.append(("pullback", x))
    return (n * x ** (n - 1) * dy,)


def power(x, n=2):
    """The power."""
    return power_fwd(x, n)[0]


TRACED: list = []
X = jnp.arange(3.0)


def made(decorator):
    f = partial(decorator, nondiff_argnums=(1,))(power)
    f.defvjp(power_fwd, power_bwd)
    return f


@pytest.fixture
def pair():
    """The function with our decorator and with JAX's; nothing traced yet."""
    TRACED.clear()
    return made(custom_vjp), made(jax.custom_vjp)


def error(f, *args, **kwargs):
    with pytest.raises(Exception) as caught:  # noqa: PT011
        f(*args, **kwargs)
    return caught.value


def test_a_call_is_one_program_that_compiles_once(pair):
    f, _ = pair
    for _ in range(3):
        assert f(X).tolist() == [0, 1, 4]
    assert f(X, n=3).tolist() == [0, 1, 8]
    assert f(jnp.ones((2, 2), "float32"), 3).dtype == jnp.float32
    assert len(TRACED) == 3
    assert all(isinstance(x, jax.core.Tracer) for _, x in TRACED)


def test_such_a_call_does_not_see_to_the_rule(pair, monkeypatch):
    f, plain = pair
    f(X)
    monkeypatch.setattr(jax.custom_vjp, "__call__", None)
    f(X)
    with pytest.raises(TypeError):
        plain(X)


def test_a_pullback_is_one_program_that_compiles_once(pair):
    f, _ = pair
    for _ in range(3):
        (dx,) = jax.vjp(f, X)[1](X)
        assert dx.tolist() == [0, 2, 8]
    pulled = [x for what, x in TRACED if what == "pullback"]
    assert len(pulled) == 1
    assert isinstance(pulled[0], jax.core.Tracer)


def test_a_trace_is_that_of_jax(pair):
    for transform in (
        lambda f: f,
        lambda f: jax.grad(lambda x: f(x).sum()),
        jax.vmap,
        jax.checkpoint,
    ):
        mine, jaxs = (str(jax.make_jaxpr(transform(f))(X)) for f in pair)
        assert mine == jaxs


def test_constants_in_a_trace_are_traced(pair):
    mine, jaxs = (str(jax.make_jaxpr(lambda f=f: f(X))()) for f in pair)
    assert mine == jaxs
    assert "custom_vjp_call" in mine


@pytest.mark.parametrize(
    "args",
    [("a",), (None,), ([1.0],), ((1.0, 2.0),), ({"a": 1.0},), (), (X, 1.5), (X, [2]),
     (X, (1, 1.0)), (X, (1, True)), (X, 2, 3)],
    ids=str,
)  # fmt: skip
def test_an_error_is_the_plain_functions(args, pair):
    pair[0](X, (1, 1))  # which (1, 1.0) equals
    mine, jaxs = (error(f, *args) for f in pair)
    assert type(mine) is type(jaxs)
    assert str(mine) == str(jaxs)
    assert (mine.__context__ is None) == (jaxs.__context__ is None)


def test_what_jax_cannot_hash_is_called_as_before(pair):
    class Unhashable(int):
        __hash__ = None

    f, plain = pair
    assert f(X, Unhashable(3)).tolist() == plain(X, Unhashable(3)).tolist() == [0, 1, 8]


NUMBERS = [1.5, np.float32(1.5), np.float64(1.5), np.ones(2), np.ones(2, "float32")]


@pytest.mark.parametrize("x64", [True, False])
def test_dtypes_are_those_of_the_plain_function(x64, pair):
    with jax.enable_x64(x64):
        for number in (*NUMBERS, jnp.asarray(1.5), jnp.float32(2), jnp.ones(2, "bfloat16")):
            mine, jaxs = (f(number) for f in pair)
            assert (mine.dtype, mine.weak_type) == (jaxs.dtype, jaxs.weak_type)
            assert (mine.committed, mine.sharding) == (jaxs.committed, jaxs.sharding)


def test_without_jit_python_runs_each_operation(pair):
    with jax.disable_jit():
        pair[0](X)
    assert TRACED[-1][1] is X


def test_nans_are_found(pair):
    nan = jnp.array([jnp.nan])
    with jax.debug_nans(True):
        assert "nan" in str(error(pair[0], nan))


def test_the_function_looks_like_itself(pair):
    f, _ = pair
    assert isinstance(f, jax.custom_vjp)
    assert (f.__name__, f.__doc__, f.nondiff_argnums) == ("power", "The power.", (1,))
    assert f.fun is power
    assert callable(f)
