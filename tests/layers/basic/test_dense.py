"""Dense and gated maps: where they start, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn.layers import Conv, ConvTranspose, Dense, GeGLU, SwiGLU
from tests.support.layers import KEY, assert_equal, fails


@pytest.mark.parametrize(
    "in_features, features",
    [(400, 1000), pytest.param(1000, 400, marks=pytest.mark.exhaustive)],
)
def test_dense_starts_glorot_normal(in_features, features):
    params = jax.tree.map(np.asarray, Dense(features).init(KEY, (1, in_features)))
    n = in_features * features
    std = (2 / (in_features + features)) ** 0.5
    # five standard errors; a normal's sample variance has a relative one of (2/n)**0.5
    assert abs(params["weight"].mean()) < 5 * std / n**0.5
    assert params["weight"].var() == pytest.approx(std**2, rel=5 * (2 / n) ** 0.5)
    assert_equal(params["bias"], np.zeros(features))


@pytest.mark.parametrize(
    "make, parts",
    [
        (Dense, 1),
        (lambda *a, **k: SwiGLU(a[0] // 2, use_bias=True, **k), 2),
        (lambda *a, **k: GeGLU(a[0] // 2, use_bias=True, **k), 2),
        (lambda *a, **k: Conv(a[0], 3, **k), 1),
        (lambda *a, **k: ConvTranspose(a[0], 3, **k), 1),
    ],
)
def test_initializers_are_called_as_jax_calls_its_own(make, parts):
    seen = []

    def recorded(value):
        def init(key, shape, dtype):
            seen.append((key, shape, dtype))
            return np.full(shape, value, dtype)

        return init

    layer = make(4, weight_init=recorded(2), bias_init=recorded(3))
    params = layer.init(KEY, jax.ShapeDtypeStruct((1, 5, 3), jnp.bfloat16))
    weight, bias = params["weight"], params["bias"]
    assert (weight == 2).all()
    assert (bias == 3).all()
    assert weight.dtype == bias.dtype == jnp.bfloat16
    part = (*weight.shape[:-1], weight.shape[-1] // parts)
    assert [shape for _, shape, _ in seen] == [part, bias.shape]
    assert [dtype for *_, dtype in seen] == [jnp.float32] * 2, "to be rounded once"
    if parts == 1:
        keys = [jax.random.key_data(key).tolist() for key, *_ in seen]
        assert keys[0] != keys[1], "weight and bias share a key"


@pytest.mark.parametrize("make", [SwiGLU, GeGLU])
def test_wrong_gated_layers(make):
    name = make.__name__
    fails(ValueError, f"{name} needs features of at least 1; got 0.", make, 0)
    fails(TypeError, f"{name} needs an integer features; got 1.5.", make, 1.5)
