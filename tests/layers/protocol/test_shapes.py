"""What `init` takes for a shape, and what it says of anything else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn.layers import (
    Conv,
    Dense,
    Dropout,
    GeGLU,
    Lambda,
    LayerNorm,
    Relu,
    Residual,
    Serial,
    SwiGLU,
)
from tests.support.layer_samples import IMAGE
from tests.support.layers import KEY, assert_equal, dtypes, fails, shapes


def test_what_init_takes_for_a_shape():
    params = Dense(2).init(KEY, (4, 3))
    struct = jax.ShapeDtypeStruct((4, 3), jnp.float32)
    array = np.ones((4, 3), np.float32)
    for like in (struct, array, jnp.asarray(array)):
        assert_equal(Dense(2).init(KEY, like), params)
    assert_equal(Dense(2).init(KEY, tuple(np.array([4, 3]))), params)


def test_params_of_an_integer_input_are_float32():
    model = Serial(Lambda(lambda ids: jnp.cos(ids.astype(jnp.float32))), Dense(2))
    for layer in (model, Dense(2), Conv(2, 1), LayerNorm()):
        ids = jax.ShapeDtypeStruct((2, 3, 4), jnp.int32)
        params = jax.eval_shape(layer.init, KEY, ids)
        assert dtypes(params) == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    "layer, shape, kind, message",
    [
        (Dense(2), (), ValueError, "Dense needs x of shape (..., in_features)"),
        (Dense(2), (3, 0), ValueError, "not empty; got (3, 0)."),
        (LayerNorm(), (), ValueError, "LayerNorm needs x of shape (..., d)"),
        (Conv(2, 3), (), ValueError, "Conv needs x of shape (N, *spatial, C)"),
        (Conv(2, 3), (1, 3, 3, 0), ValueError, "not empty; got (1, 3, 3, 0)."),
        (Conv(2, 3), (2, 3), ValueError, "with 1, 2 or 3 spatial axes; got (2, 3)."),
        (Conv(2, (3, 3)), (2, 3, 4), ValueError, "for each of 1 spatial axes; got (3, 3)."),
        (
            Conv(4, 3, groups=4),
            IMAGE,
            ValueError,
            "Conv needs groups that divide the 3 channels of x; got 4.",
        ),
        (
            Conv(2, 5, 1, "VALID"),
            IMAGE,
            ValueError,
            "Conv needs every spatial axis, padded",
        ),
        (Conv(2, 3, 0), IMAGE, ValueError, "Conv needs stride of at least 1; got 0."),
        (Conv(2, 3, (1, 1.5)), IMAGE, TypeError, "Conv needs an integer stride; got 1.5."),
        (Conv(2, 3, 1, "FULL"), IMAGE, ValueError, "Conv needs a padding of 'SAME', "),
        (Conv(2, 3, 1, "SAME", 0), IMAGE, ValueError, "Conv needs dilation of at least 1"),
        (Dense(2), [(1, 3)], TypeError, "Dense needs the shape of one array, a tuple of"),
        (Dense(2), None, TypeError, "Dense needs the shape of one array, a tuple of"),
        (Dense(2), (None, 3), TypeError, "Dense needs a shape, a tuple of ints, or"),
        (Dense(2), [1, 3], TypeError, "ShapeDtypeStruct; got [1, 3]."),
        (Dense(2), 3, TypeError, "ShapeDtypeStruct; got 3."),
        (Dense(2), (True, 3), TypeError, "ShapeDtypeStruct; got (True, 3)."),
        (Dense(2), (1.0, 3), TypeError, "ShapeDtypeStruct; got (1.0, 3)."),
        (Dense(2), (-1, 3), ValueError, "Dense needs a shape of at least 0; got (-1, 3)."),
        (SwiGLU(2), (), ValueError, "SwiGLU needs x of shape (..., in_features) with"),
        (GeGLU(2), (3, 0), ValueError, "that is not empty; got (3, 0)."),
        (Relu(), "ab", TypeError, "Relu needs a shape, a tuple of ints, or"),
        (Dropout(0.5), (2.5,), TypeError, "Dropout needs a shape, a tuple of ints, or"),
        (
            Residual(Dense(2)),
            (2, 3),
            ValueError,
            "Residual needs layers that keep the shape of x; got (2, 2) for x of shape",
        ),
    ],
)
def test_init_on_a_wrong_input(layer, shape, kind, message):
    fails(kind, message, layer.init, KEY, shape)


def test_a_traced_shape_says_what_to_do():
    message = "needs a shape that is static: jax.jit and jax.eval_shape trace a tuple"
    for transformed in (
        jax.jit(Dense(2).init),
        lambda *a: jax.eval_shape(Dense(2).init, *a),
    ):
        fails(TypeError, message, transformed, KEY, (1, 3))


@pytest.mark.parametrize("make", [Dense, lambda n: Conv(n, 3)], ids=["Dense", "Conv"])
@pytest.mark.parametrize(
    "features, kind, message",
    [
        (0, ValueError, "needs features of at least 1; got 0."),
        (-1, ValueError, "needs features of at least 1; got -1."),
        (2.0, TypeError, "needs an integer features; got 2.0."),
        ("2", TypeError, "needs an integer features; got '2'."),
        (True, TypeError, "needs an integer features; got True."),
        ((2,), TypeError, "needs an integer features; got (2,)."),
        (None, TypeError, "needs an integer features; got None."),
    ],
)
def test_wrong_features(make, features, kind, message):
    fails(kind, message, make, features)


def test_features_may_be_a_numpy_integer():
    assert shapes(Dense(np.int64(2)).init(KEY, (1, 3)))["bias"] == (2,)
