"""Calls of layers in layers: their names, and those that watch them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn.layers import (
    Conv,
    Dense,
    Relu,
    Remat,
    Residual,
    Serial,
    Transformer,
)
from funcnn.layers.protocol._calls import watching
from funcnn.layers.protocol._layer import kind
from tests.support.layers import KEY


def calls(layer, x, **options):
    """The calls in a layer: path, kind, how often, and shapes of input and output."""
    found, path = [], []

    def watcher(call, params, x, **arguments):
        path.append(call.name)
        row = ["/".join(path), kind(call.layer), call.times]
        found.append(row)
        y = call.layer.apply(params, x, **arguments)
        first = y[0] if isinstance(y, tuple) else y
        row += [jax.tree.map(jnp.shape, params), x.shape, first.shape]
        path.pop()
        return y

    params = jax.eval_shape(layer.init, KEY, x)
    with watching(watcher):
        jax.eval_shape(lambda p, x: layer.apply(p, x, **options), params, x)
    return found


def test_serial_and_residual_are_watched():
    model = Serial(stem=Dense(4), body=Serial(Residual(Relu()), Remat(Dense(3))))
    x = jax.ShapeDtypeStruct((2, 3), jnp.float32)
    dense = {"weight": (3, 4), "bias": (4,)}
    last = {"weight": (4, 3), "bias": (3,)}
    assert calls(model, x) == [
        ["stem", "Dense", 1, dense, (2, 3), (2, 4)],
        ["body", "Serial", 1, (({},), last), (2, 4), (2, 3)],
        ["body/0", "Residual", 1, ({},), (2, 4), (2, 4)],
        ["body/0/0", "Relu", 1, {}, (2, 4), (2, 4)],
        ["body/1", "Remat(Dense)", 1, last, (2, 4), (2, 3)],
    ]
    assert not calls(Dense(3), x)


@pytest.mark.parametrize("remat", [False, True])
def test_all_of_a_transformer_is_watched(remat):
    model = Transformer(
        7, 4, 2, 3, positions="learned", length=5, tied=False, remat=remat, dropout=0.5
    )
    x = jax.ShapeDtypeStruct((2, 5), jnp.int32)
    block = "Remat(TransformerBlock)" if remat else "TransformerBlock"
    found = [(path, name, times) for path, name, times, *_ in calls(model, x, key=KEY)]
    assert list(dict.fromkeys(found)) == [
        ("tokens", "Embed", 1),
        ("positions", "PositionalEmbedding", 1),
        ("blocks", "Stack", 1),
        ("blocks/*", block, 3),
        ("blocks/*/attention_norm", "LayerNorm", 1),
        ("blocks/*/attention", "MultiHeadAttention", 1),
        ("blocks/*/mlp_norm", "LayerNorm", 1),
        ("blocks/*/mlp", "Serial", 1),
        ("blocks/*/mlp/hidden", "Dense", 1),
        ("blocks/*/mlp/activation", "Gelu", 1),
        ("blocks/*/mlp/output", "Dense", 1),
        ("norm", "LayerNorm", 1),
    ]
    with_cache = [row[0] for row in calls(model, x, cache=5)]
    assert list(dict.fromkeys(with_cache)) == [row[0] for row in dict.fromkeys(found)]


def test_values_are_seen_inside_remat():
    seen = []

    def watcher(call, params, x, **arguments):
        seen.append(not isinstance(x, jax.core.Tracer))
        return call.layer.apply(params, x, **arguments)

    model = Serial(Remat(Serial(Relu())))
    with watching(watcher):
        model.apply((({},),), np.ones(2))
    assert seen == [True, True]


def test_watching_ends_with_its_context():
    seen = []

    def watcher(call, params, x, **arguments):
        seen.append(call.name)
        raise ArithmeticError

    model = Serial(a=Relu())
    params = {"a": {}}
    with pytest.raises(ArithmeticError), watching(watcher):
        model.apply(params, np.ones(2))
    model.apply(params, np.ones(2))
    assert seen == ["a"]


def test_the_layers_name_what_is_compiled():
    model = Serial(stem=Conv(4, 3), body=Dense(2))
    x = jax.ShapeDtypeStruct((2, 5, 5, 3), jnp.float32)
    params = jax.eval_shape(model.init, KEY, x)
    text = jax.jit(jax.grad(lambda p, x: model.apply(p, x).sum())).lower(params, x)
    text = text.compile().as_text()
    for name in ("jvp(stem)", "transpose(jvp(body))"):
        assert f"/{name}/" in text
