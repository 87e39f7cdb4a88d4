"""How layers print, compare, hash and pickle: by the calls that made them."""

import copy
import inspect
import pickle
import re
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.nn import initializers

from funcnn import layers
from funcnn.layers import (
    Cast,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Gelu,
    Lambda,
    Layer,
    LayerNorm,
    LeakyRelu,
    MultiHeadAttention,
    Relu,
    Remat,
    Residual,
    RMSNorm,
    Serial,
    Stack,
    Tanh,
    Transformer,
    TransformerBlock,
)
from funcnn.layers.protocol._layer import kind
from tests.support.layer_samples import SAMPLES

NAMES = vars(layers) | {"initializers": initializers, "partial": partial}
MODEL = Serial(
    stem=Conv(16, (3, 3), (2, 2), use_bias=True, weight_init=initializers.he_uniform()),
    body=Stack(
        Remat(
            Residual(
                LayerNorm(),
                Dense(64, weight_init=initializers.normal(0.02)),
                Gelu(approximate=False),
                Dropout(0.1),
            )
        ),
        12,
        scan=False,
    ),
    wave=Lambda(jnp.cos),
    head=Cast(Serial(Flatten(), Dense(10, bias_init=initializers.ones)), jnp.float32),
)
PRINTED = """\
Serial(
    stem=Conv(16, (3, 3), stride=(2, 2), weight_init=initializers.he_uniform()),
    body=Stack(
        Remat(
            Residual(
                LayerNorm(),
                Dense(64, weight_init=initializers.normal(stddev=0.02)),
                Gelu(approximate=False),
                Dropout(0.1),
            ),
        ),
        12,
        scan=False,
    ),
    wave=Lambda(cos),
    head=Cast(
        Serial(Flatten(), Dense(10, bias_init=initializers.ones)),
        'float32',
    ),
)"""


# Printing


def test_a_model_prints_as_the_code_that_makes_it():
    assert str(MODEL) == PRINTED
    assert max(map(len, PRINTED.splitlines())) <= 80


@pytest.mark.parametrize(
    "layer, text",
    [
        (Serial(), "Serial()"),
        (Serial(Dense(3), Relu()), "Serial(Dense(3), Relu())"),
        (Dense(features=3, use_bias=True), "Dense(3)"),
        (Conv(8, 3, 1, "VALID"), "Conv(8, 3, padding='VALID')"),
        (
            Transformer(100, 64, 4, 2, window=8, norm_layer=RMSNorm(1e-5), key_heads=1),
            "Transformer(\n    100,\n    64,\n    heads=4,\n    depth=2,\n"
            "    norm_layer=RMSNorm(eps=1e-05),\n    key_heads=1,\n    window=8,\n)",
        ),
        (Lambda(lambda x: x), "Lambda(<lambda>)"),
        (Lambda(partial(jnp.clip, min=0)), "Lambda(partial(clip, min=0))"),
        (Serial(**{"a-b": Relu(), "if": Tanh()}), "Serial(**{'a-b': Relu()}, "
        "**{'if': Tanh()})"),
        (Layer(np.zeros, np.ones), "Layer(zeros, ones)"),
        (Dense(2, weight_init=initializers.glorot_normal()), "Dense(2)"),
        (
            Dense(2, weight_init=initializers.variance_scaling(3.0, "fan_in", "normal")),
            "Dense(\n    2,\n    weight_init=initializers.variance_scaling(\n        3.0,\n"
            "        'fan_in',\n        distribution='normal',\n    ),\n)",
        ),
    ],
)  # fmt: skip
def test_what_is_printed(layer, text):
    assert repr(layer) == text


def test_a_deep_model_stays_in_80_columns():
    layer = Dense(64, weight_init=initializers.normal(0.02))
    for _ in range(6):
        layer = Serial(first=layer, then=Residual(Relu(), Dense(64, use_bias=False)))
    assert max(map(len, repr(layer).splitlines())) <= 80
    assert eval(repr(layer), NAMES) == layer


@pytest.mark.parametrize("name", SAMPLES)
def test_what_is_printed_makes_the_layer_again(name):
    layer = SAMPLES[name][0]
    names = NAMES | {"cos": jnp.cos}
    again = eval(repr(layer), names)
    assert again == layer
    assert again is not layer
    assert hash(again) == hash(layer)


@pytest.mark.parametrize("name", sorted({n.split(",")[0].split(" ")[0] for n in SAMPLES}))
def test_constructors_keep_their_signature_and_docstring(name):
    make = getattr(layers, name)
    inside = make.__wrapped__
    assert inspect.signature(make) == inspect.signature(inside)
    assert make.__doc__ == inside.__doc__
    assert (make.__name__, make.__module__) == (name, "funcnn.layers")
    assert kind(SAMPLES[next(n for n in SAMPLES if n.startswith(name))][0]).startswith(name)


# Comparing


def shift(x):
    return x + 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: Serial(a=Dense(3), b=Relu()),
        lambda: Dense(3, weight_init=initializers.normal(0.1)),
        lambda: Lambda(shift),
        lambda: Lambda(partial(jnp.clip, min=0)),
        lambda: Lambda(partial(np.add, np.ones)),
        lambda: Cast(Relu(), "bfloat16"),
        lambda: Conv(4, [3, 3]),
        lambda: Layer(shift, shift),
        lambda: Residual(Layer(shift, shift)),
    ],
)
def test_made_alike_is_equal(make):
    assert make() == make()
    assert not make() != make()  # noqa: SIM202 - another method
    assert hash(make()) == hash(make())
    assert {make(): 1}[make()] == 1


@pytest.mark.parametrize(
    "one, other",
    [
        (Dense(3), Dense(features=3, use_bias=True)),
        (Dense(3), Dense(3, weight_init=initializers.glorot_normal())),
        (Cast(Relu(), "bfloat16"), Cast(Relu(), jnp.bfloat16)),
        (
            Transformer(9, 8, 2, 2, window=3, key_heads=1),
            Transformer(9, 8, 2, depth=2, key_heads=1, window=3),
        ),
    ],
)
def test_said_differently_is_equal(one, other):
    assert one == other
    assert hash(one) == hash(other)


@pytest.mark.parametrize(
    "one, other",
    [
        (Dense(3), Dense(4)),
        (Dense(3), Dense(3, use_bias=False)),
        (Dense(3), Dense(3, weight_init=initializers.normal(0.1))),
        (
            Dense(3, weight_init=initializers.normal(0.2)),
            Dense(3, weight_init=initializers.normal(0.1)),
        ),
        (Serial(Relu()), Residual(Relu())),
        (Serial(a=Relu(), b=Tanh()), Serial(b=Tanh(), a=Relu())),
        (Serial(a=Relu()), Serial(Relu())),
        (MultiHeadAttention(2, rope=True), MultiHeadAttention(2, rope=1.0)),
        (LeakyRelu(1), LeakyRelu(True)),
        (Lambda(lambda x: x), Lambda(lambda x: x)),
        (Lambda(partial(jnp.add, 1)), Lambda(partial(jnp.add, 1.0))),
        (Stack(Relu(), 2), Stack(Relu(), 2, remat=True)),
        (Layer(shift, shift), Layer(shift, abs)),
        (Dense(3), Layer(Dense(3).init, Dense(3).apply)),
    ],
)
def test_what_differs_is_not_equal(one, other):
    assert one != other
    assert not one == other  # noqa: SIM201 - another method


def test_a_layer_whose_functions_were_changed_is_another():
    layer = Dense(3)
    for other in (
        layer._replace(apply=jax.jit(layer.apply)),  # which has the attributes of apply
        layer._replace(init=shift),
    ):
        assert other != layer
        assert repr(other).startswith("Layer(")
        assert kind(other) == "Dense"
    assert layer._replace(init=layer.init) == layer
    assert layer != tuple(layer)
    assert Layer(*layer) == layer


# As an argument, a key, a tree


def test_a_layer_as_a_static_argument():
    traces = []

    @partial(jax.jit, static_argnums=0)
    def apply(model, params, x):
        traces.append(model)
        return model.apply(params, x)

    params, x = {}, np.ones((2, 3))
    for _ in range(2):
        apply(LeakyRelu(0.5), params, x)
    assert traces == [LeakyRelu(0.5)]
    assert (apply(LeakyRelu(0.25), params, -x) == -0.25).all()
    assert len(traces) == 2


def test_a_layer_is_a_tuple_a_tree_and_copied_as_itself():
    init, apply = MODEL
    assert (init, apply) == (MODEL.init, MODEL.apply) == tuple(jax.tree.leaves(MODEL))
    assert jax.tree.map(lambda f: f, MODEL) == MODEL
    assert copy.copy(MODEL) is copy.deepcopy(MODEL) is MODEL
    assert copy.deepcopy({"model": MODEL})["model"] is MODEL


# Pickling


@pytest.mark.parametrize("name", SAMPLES)
def test_pickled_layers_are_the_same(name):
    layer = SAMPLES[name][0]
    again = pickle.loads(pickle.dumps(layer))
    assert again == layer
    assert repr(again) == repr(layer)


def test_a_pickled_model_is_the_same():
    model = Serial(
        MODEL,
        Lambda(jax.nn.relu),
        Lambda(shift),
        Lambda(partial(jnp.clip, min=0)),
        Remat(Relu(), policy=jax.checkpoint_policies.everything_saveable),
    )
    text = pickle.dumps(model)
    assert pickle.loads(text) == model
    assert b"_serial" not in text  # rooms may move


def test_a_model_goes_to_another_process():
    model = Serial(MODEL, Lambda(jax.nn.relu), Lambda(partial(jnp.clip, min=0)))
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer))"
    run = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(model), capture_output=True
    )
    assert run.returncode == 0, run.stderr.decode()
    assert run.stdout.decode().rstrip() == repr(model)


def test_lambdas_are_not_pickled():
    own = Layer(lambda key, shape: {}, lambda params, x, *, key=None: x)
    for layer in (Lambda(lambda x: x), own, Dense(3)._replace(init=shift)):
        with pytest.raises(pickle.PicklingError) as caught:
            pickle.dumps(Serial(a=layer))
        assert re.fullmatch(
            "to be pickled, a layer needs functions that are found by their name, at the "
            r"top of a module; got \S+ \(.*\.py:\d+\)\.",
            str(caught.value),
        )


def test_cloudpickle_takes_lambdas():
    cloudpickle = pytest.importorskip("cloudpickle")
    model = pickle.loads(cloudpickle.dumps(Serial(Dense(3), Lambda(lambda x: x + 1))))
    name = "test_cloudpickle_takes_lambdas.<lambda>"
    assert repr(model) == f"Serial(Dense(3), Lambda({name}))"
    assert TransformerBlock(2) == pickle.loads(cloudpickle.dumps(TransformerBlock(2)))
