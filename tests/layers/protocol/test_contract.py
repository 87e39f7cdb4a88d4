"""What every layer holds to: what it draws, of what dtype, and that it computes its op."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import layers
from funcnn.layers import (
    Conv,
    Dense,
    Dropout,
    Flatten,
    GeGLU,
    Layer,
    LayerNorm,
    Relu,
    Residual,
    Serial,
    SwiGLU,
)
from tests.support.layer_samples import IDS, SAMPLES
from tests.support.layers import (
    KEY,
    abstract,
    assert_equal,
    drawn,
    dtypes,
    fails,
    normal,
    shapes,
)

CAST, DROPOUT = (SAMPLES[name][0] for name in ("Cast", "Dropout"))
each_sample = pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
exhaustive = pytest.mark.exhaustive


def test_every_layer_has_a_sample():
    public = {name for name in vars(layers) if name[0].isupper()} - {"Layer", "Cache"}
    assert public == {name.split(",")[0].split(" ")[0] for name in SAMPLES}


@each_sample
def test_init_gives_params_of_these_shapes(sample):
    layer, shape, params, _ = sample
    assert isinstance(layer, Layer)
    assert shapes(abstract(layer, shape)[0]) == params


@each_sample
@pytest.mark.parametrize(
    "dtype",
    [
        pytest.param(jnp.float16, marks=exhaustive),
        jnp.bfloat16,
        pytest.param(jnp.float32, marks=exhaustive),
        jnp.float64,
    ],
)
def test_params_have_the_dtype_of_the_input(sample, dtype):
    layer, shape, *_ = sample
    params, y = abstract(layer, shape, dtype)
    if layer is CAST:  # what it is for is another dtype
        wide = jnp.float64 if dtype == jnp.float64 else jnp.float32
        assert dtypes(params) == {jnp.dtype(wide)}
        assert y.dtype == jnp.float64
        return
    wanted = jnp.float32 if shape is IDS else dtype  # integers have none to give
    assert dtypes(params) <= {jnp.dtype(wanted)}
    assert y.dtype == wanted


@each_sample
def test_a_tuple_stands_for_float32(sample):
    layer, shape, *_ = sample
    params = jax.eval_shape(lambda key: layer.init(key, shape), KEY)
    assert params == abstract(layer, shape)[0]
    assert dtypes(params) <= {jnp.dtype("float32")}


@each_sample
def test_init_maps_over_keys(sample):
    layer, shape, params, _ = sample
    keys = jax.eval_shape(lambda key: jax.random.split(key, 3), KEY)
    ensemble = jax.eval_shape(jax.vmap(lambda key: layer.init(key, shape)), keys)
    rows = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), ensemble)
    assert shapes(rows) == params
    assert all(a.shape[0] == 3 for a in jax.tree.leaves(ensemble))


@each_sample
def test_an_empty_batch(sample):
    layer, shape, *_ = sample
    none = IDS.update(shape=(0, 3)) if shape is IDS else (0, *shape[1:])
    (_, full), (_, empty) = abstract(layer, shape), abstract(layer, none)
    assert empty.shape == (0, *full.shape[1:])


# What it computes: where the program is the op's, letter by letter, so are its numbers.


def program(f, params, x):
    """The text of what `f` traces to, and its constants."""
    traced = jax.make_jaxpr(f)(params, x)
    return re.sub(" at 0x[0-9a-f]+", "", str(traced)), traced.consts


def same_program(f, g, params, x):
    (text, constants), (other, others) = program(f, params, x), program(g, params, x)
    return text == other and len(constants) == len(others) == 0


def ways(name):
    """The layer without a key, perhaps with one, and its op."""
    layer, _, _, op = SAMPLES[name]
    with_key = [] if layer is DROPOUT else [lambda p, x: layer.apply(p, x, key=KEY)]
    return [lambda p, x: layer.apply(p, x), *with_key], op


@pytest.fixture(scope="module")
def computed():
    """What the layers and their ops give, if their programs are not the same."""
    arguments, others = {}, {}
    for name, (layer, shape, _, _) in SAMPLES.items():
        params, x = drawn(layer, shape), normal(shape)
        fs, op = ways(name)
        others[name] = [f for f in fs if not same_program(f, op, params, x)]
        if others[name]:
            arguments[name] = params, x

    @jax.jit
    def all_of_them(arguments):
        return {
            name: ([f(*a) for f in others[name]], ways(name)[1](*a))
            for name, a in arguments.items()
        }

    return all_of_them(arguments)


@pytest.mark.parametrize("name", SAMPLES)
def test_apply_computes_the_op(computed, name):
    got, want = computed.get(name, ([], None))
    for y in got:
        assert_equal(y, want, rtol=1e-14)


@pytest.mark.parametrize("name", ["Dense", "Residual"])
def test_apply_computes_without_jit_what_it_does_with(name):
    layer, shape, *_ = SAMPLES[name]
    params, x = drawn(layer, shape), normal(shape)
    assert_equal(layer.apply(params, x), jax.jit(layer.apply)(params, x), rtol=1e-14)


# Params of another layer

DENSE = {"weight": np.ones((3, 2)), "bias": np.ones(2)}
NORM = {"scale": np.ones(3), "offset": np.ones(3)}


@pytest.mark.parametrize(
    "layer, params, kind, message",
    [
        (Dense(2), NORM, ValueError, "Dense needs params in a dict with weight, bias; "),
        (Dense(2), {"scale": 1.0}, ValueError, "; got a dict with scale."),
        (Dense(2), {}, ValueError, "weight, bias; got an empty dict."),
        (Dense(2), DENSE["weight"], TypeError, "Dense needs params in a dict with weight"),
        (Dense(2), (DENSE,), TypeError, "got a tuple of 1."),
        (Dense(2), None, TypeError, "got NoneType."),
        (
            Dense(2, use_bias=False),
            DENSE,
            ValueError,
            "a dict with weight; got a dict with",
        ),
        (SwiGLU(2), DENSE, ValueError, "SwiGLU needs params in a dict with weight; got a"),
        (GeGLU(2, use_bias=True), {}, ValueError, "GeGLU needs params in a dict with weig"),
        (Conv(2, 3), NORM, ValueError, "Conv needs params in a dict with weight, bias; "),
        (
            LayerNorm(),
            DENSE,
            ValueError,
            "LayerNorm needs params in a dict with scale, off",
        ),
        (Relu(), DENSE, ValueError, "Relu needs params in an empty dict; got a dict with"),
        (Relu(), (), TypeError, "Relu needs params in an empty dict; got a tuple of 0."),
        (Dropout(0.5), DENSE, ValueError, "Dropout needs params in an empty dict; got a"),
        (Flatten(), DENSE, ValueError, "Flatten needs params in an empty dict; got a dict"),
        (
            Serial(Dense(2)),
            DENSE,
            TypeError,
            "Serial needs params in a tuple of 1, one for",
        ),
        (Serial(Dense(2)), {"a": DENSE}, TypeError, "each layer; got a dict with a."),
        (Serial(Dense(2)), (), ValueError, "Serial needs params in a tuple of 1, one for"),
        (Serial(Dense(2)), (DENSE, {}), ValueError, "one for each layer; got 2."),
        (Serial(a=Dense(2)), {"b": DENSE}, ValueError, "dict with a; got a dict with b."),
        (Serial(a=Dense(2)), (DENSE,), TypeError, "dict with a; got a tuple of 1."),
        (Serial(), {}, TypeError, "Serial needs params in a tuple of 0, one for each"),
        (Residual(Dense(3)), DENSE, TypeError, "Serial needs params in a tuple of 1"),
    ],
)
def test_params_of_another_layer(layer, params, kind, message):
    x = np.ones((2, 3))
    fails(kind, message, layer.apply, params, x)
    fails(kind, message, jax.jit(layer.apply), params, x)
