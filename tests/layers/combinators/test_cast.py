"""Layers in another precision."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import layers
from funcnn.layers import Cast, Dense, Dropout, Remat, Serial
from tests.support.layers import KEY, abstract, drawn, dtypes, filled, normal


@pytest.mark.parametrize("dtype", [jnp.bfloat16, "float16"])
def test_cast_computes_in_its_dtype(dtype):
    seen = []

    def record(x):
        seen.append(x.dtype)
        return x.astype(jnp.float32)

    inner = Serial(Dense(5), layers.Lambda(record))
    layer = Cast(inner, dtype)
    x = normal((2, 3), jnp.float32)
    assert dtypes(abstract(layer, (2, 3))[0]) == {jnp.dtype("float32")}
    params = drawn(layer, (2, 3), jnp.float32)
    seen.clear()

    @jax.jit
    def compute(params, x):
        low = jax.tree.map(lambda a: a.astype(dtype), (params, x))
        grad = jax.grad(lambda p: layer.apply(p, x).astype(jnp.float32).sum())
        return layer.apply(params, x), inner.apply(*low).astype(dtype), grad(params)

    y, want, grads = compute(params, x)
    assert seen[0] == y.dtype == jnp.dtype(dtype)
    np.testing.assert_array_equal(y, want)
    assert [a.dtype for a in jax.tree.leaves(grads)] == [jnp.float32] * 2


def test_params_in_a_cast_are_float32_after_another():
    model = Serial(Cast(Dense(4), "bfloat16"), Cast(Dense(3), "float32"), Dense(2))
    params, y = abstract(model, (2, 3))
    assert dtypes(params) == {jnp.dtype("float32")}
    assert y.dtype == jnp.float32
    low, _ = abstract(Serial(Cast(Dense(4), "bfloat16"), Dense(3)), (2, 3))
    assert low[1]["weight"].dtype == jnp.bfloat16


def test_cast_leaves_integers_and_keys():
    model = Cast(Serial(layers.Embed(7, 4), Dropout(0.5)), "bfloat16")
    ids = np.arange(7)
    params, _ = abstract(model, jax.ShapeDtypeStruct((7,), jnp.int32))
    assert params[0]["table"].dtype == jnp.float32
    y = jax.jit(lambda p: model.apply(p, ids, key=KEY))(filled(params, jnp.float32))
    assert y.dtype == jnp.bfloat16
    assert (np.asarray(y) == 0).any()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Remat(Dense), "Remat needs a layer; got <function Dense"),
        (lambda: Cast(Dense, "float32"), "Cast needs a layer; got <function Dense"),
        (lambda: Cast(Dense(1), "int8"), "Cast needs a dtype that is floating-point; got"),
        (lambda: Cast(Dense(1), None), "that is floating-point; got None."),
        (lambda: Cast(Dense(1), "bf"), "that is floating-point; got 'bf'."),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        make()
