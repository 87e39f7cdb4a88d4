"""bfloat16 in, bfloat16 out, and no sum is taken in it."""

import importlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import ops
from tests.support.hard_points import (
    close,
    values_and_pullbacks,
    wide,
)

# Low precision


def registry():
    """Every op by name, with its first case that holds anything."""
    found = {}
    for path in sorted(Path(ops.__file__).parent.glob("_[a-z]*.py")):
        name = path.stem[1:]
        module = importlib.import_module(f"funcnn.ops.{path.stem}")
        cases = getattr(module, f"{name}_cases")(np.random.default_rng(0))
        full = (c for c in cases.values() if all(np.size(a) for a in c))
        found[name] = getattr(module, name), next(full)
    return found


OPS = registry()
# Low-precision losses come in float32, see their docstrings.
IN_FLOAT32 = {"softmax_cross_entropy", "cross_entropy", "mse"}
IN_FLOAT32 |= {"linear_softmax_cross_entropy", "binary_cross_entropy"}


def is_floating(a):
    array = isinstance(a, np.ndarray | jax.Array | np.floating)
    return array and jnp.issubdtype(a.dtype, jnp.floating)


def in_bfloat16(name):
    """An op as a function of its floating arguments, and those in bfloat16."""
    op, case = OPS[name]
    places = [i for i, a in enumerate(case) if is_floating(a)]

    def at_floats(*arrays):
        arguments = list(case)
        for i, a in zip(places, arrays, strict=True):
            arguments[i] = a
        return op(*arguments)

    return at_floats, [jnp.asarray(case[i], "bfloat16") for i in places]


@pytest.mark.parametrize("name", OPS)
def test_bfloat16_in_bfloat16_out(name):
    """And both are what float64 makes of the same numbers, rounded once or twice."""
    at_floats, low = in_bfloat16(name)
    high = [a.astype("float64") for a in low]
    rng = np.random.default_rng(2)
    shapes = jax.eval_shape(at_floats, *low)
    dy = jax.tree.map(lambda s: jnp.asarray(rng.normal(size=s.shape), "bfloat16"), shapes)

    both = {"low": (at_floats, low, dy), "high": (at_floats, high, dy)}
    found = values_and_pullbacks(both)
    (y, gradients), (exact, expected) = found["low"], found["high"]

    first, *statistics = ys = jax.tree.leaves(y)
    assert first.dtype == ("float32" if name in IN_FLOAT32 else "bfloat16")
    assert all(s.dtype == "float32" for s in statistics)
    found, wanted = (*ys, *gradients), (*jax.tree.leaves(exact), *expected)
    for g, e, a in zip(found, wanted, (*ys, *low), strict=True):
        assert g.dtype == a.dtype
        size = np.abs(wide(e)).max(initial=0)
        close(g, e, 2**-7, 2**-7 * size)


def equations(jaxpr):
    """Those of a jaxpr and of all jaxprs within."""
    for equation in jaxpr.eqns:
        yield equation
        for value in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda v: hasattr(v, "jaxpr")
        ):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


SUMS = {"dot_general", "conv_general_dilated", "reduce_sum", "reduce_window_sum", "cumsum"}
SUMS |= {"scatter-add"}


@pytest.mark.parametrize("name", OPS)
def test_no_sum_is_taken_in_bfloat16(name):
    """CPUs widen many of them unasked, so numbers alone cannot tell: read the program."""
    op, low = in_bfloat16(name)

    def value_and_gradients(*arrays):
        y, pullback = jax.vjp(op, *arrays)
        return y, pullback(jax.tree.map(jnp.ones_like, y))

    for equation in equations(jax.make_jaxpr(value_and_gradients)(*low).jaxpr):
        if equation.primitive.name in SUMS:
            assert equation.outvars[0].aval.dtype != jnp.bfloat16, str(equation)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_numpy_numbers_promote_nothing(dtype):
    x = jnp.asarray([[-1.0, 2.0]], jnp.bfloat16)
    number = dtype(0.25)
    labels = jnp.array([1])
    with jax.numpy_dtype_promotion("standard"):
        for f in (
            lambda x: ops.dropout(jax.random.key(0), x, number),
            lambda x: ops.leaky_relu(x, number),
            lambda x: ops.elu(x, number),
            lambda x: ops.layer_norm(x, x[0], x[0], number),
        ):
            y, vjp = jax.vjp(f, x)
            assert y.dtype == vjp(y)[0].dtype == jnp.bfloat16
        for f in (
            lambda x: ops.softmax_cross_entropy(x, labels, number, number),
            lambda x: ops.cross_entropy(jnp.exp(x), labels, number),
        ):
            y, vjp = jax.vjp(f, x)
            assert (y.dtype, vjp(y)[0].dtype) == (jnp.float32, jnp.bfloat16)


def test_numpy_integers_are_padding_too():
    x = jnp.ones((1, 4, 4, 1))
    assert ops.avg_pool(x, 3, 1, np.int64(1)).shape == x.shape


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint32, np.int64])
def test_labels_narrower_than_the_number_of_classes(dtype):
    scores = jnp.asarray(np.random.default_rng(0).uniform(0.1, 1, (2, 1000)))
    labels = np.array([3, 100])
    for op in (ops.softmax_cross_entropy, ops.cross_entropy):
        np.testing.assert_array_equal(op(scores, labels.astype(dtype)), op(scores, labels))
