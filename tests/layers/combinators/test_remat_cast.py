"""Layers that change how another is computed, and calls of layers that can be watched."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import layers
from funcnn.layers import (
    Cast,
    Conv,
    Dense,
    Dropout,
    Gelu,
    LayerNorm,
    MultiHeadAttention,
    Relu,
    Remat,
    Residual,
    Serial,
    Stack,
    Transformer,
)
from funcnn.layers.protocol._calls import watching
from funcnn.layers.protocol._layer import kind

KEY = jax.random.key(0)
BLOCK = Residual(LayerNorm(), Dense(64), Gelu(), Dropout(0.5), Dense(16))


def normal(shape, dtype=jnp.float64):
    return jnp.asarray(np.random.default_rng(1).standard_normal(shape), dtype)


def value_and_grad(layer, params, x, **options):
    def f(params, x):
        return (layer.apply(params, x, **options) ** 2).mean()

    return jax.jit(jax.value_and_grad(f, (0, 1)))(params, x)


def kept(layer, x, **options):
    """Bytes from the forward to the backward pass, params aside."""

    def residuals(params, x):
        _, pull = jax.vjp(lambda p, x: layer.apply(p, x, **options), params, x)
        known = {id(a) for a in jax.tree.leaves(params)}
        return [a for a in jax.tree.leaves(pull) if id(a) not in known]

    params = jax.eval_shape(layer.init, KEY, x)
    found = jax.eval_shape(residuals, params, x)
    return sum(a.size * a.dtype.itemsize for a in found)


def temporary(layer, x):
    """Bytes that a gradient takes besides what it is given and gives."""

    def f(params, x):
        return (layer.apply(params, x) ** 2).mean()

    params = jax.eval_shape(layer.init, KEY, x)
    compiled = jax.jit(jax.grad(f)).lower(params, x).compile()
    return compiled.memory_analysis().temp_size_in_bytes


# Remat


def test_remat_gives_the_same():
    x = normal((4, 16))
    params = BLOCK.init(KEY, x)
    assert jax.tree.structure(Remat(BLOCK).init(KEY, x)) == jax.tree.structure(params)
    for options in ({}, {"key": KEY}):
        got = value_and_grad(Remat(BLOCK), params, x, **options)
        want = value_and_grad(BLOCK, params, x, **options)
        jax.tree.map(lambda g, w: np.testing.assert_allclose(g, w, 1e-12), got, want)


def test_remat_keeps_its_input_alone():
    x = jax.ShapeDtypeStruct((32, 16), jnp.float32)
    size = 32 * 16 * 4
    assert kept(Remat(BLOCK), x) == size
    assert kept(BLOCK, x) > 8 * size  # 64 features twice, and more
    keep = jax.checkpoint_policies.everything_saveable
    assert kept(Remat(BLOCK, policy=keep), x) > 8 * size


def test_remat_saves_memory():
    x = jax.ShapeDtypeStruct((1024, 16), jnp.float32)
    assert temporary(Stack(Remat(BLOCK), 6), x) < 0.5 * temporary(Stack(BLOCK, 6), x)


def test_remat_passes_options_on():
    layer = Remat(MultiHeadAttention(2, causal=True))
    x = normal((2, 3, 4))
    params = layer.init(KEY, x)
    y, cache = layer.apply(params, x[:, :2], cache=3)
    last, _ = jax.jit(layer.apply)(params, x[:, 2:], cache=cache)
    y = jnp.concatenate([y, last], 1)
    np.testing.assert_allclose(y, layer.apply(params, x), 1e-12)
    mask = jnp.tril(jnp.ones((3, 3), bool))
    got = value_and_grad(Remat(MultiHeadAttention(2)), params, x, mask=mask)
    want = value_and_grad(MultiHeadAttention(2, causal=True), params, x)
    jax.tree.map(lambda g, w: np.testing.assert_allclose(g, w, 1e-12), got, want)


# Cast


@pytest.mark.parametrize("dtype", [jnp.bfloat16, "float16"])
def test_cast_computes_in_its_dtype(dtype):
    seen = []

    def record(x):
        seen.append(x.dtype)
        return x.astype(jnp.float32)

    inner = Serial(Dense(5), layers.Lambda(record))
    layer = Cast(inner, dtype)
    x = normal((2, 3), jnp.float32)
    params = layer.init(KEY, x)
    assert {a.dtype for a in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    y = layer.apply(params, x)
    assert seen[-1] == y.dtype == jnp.dtype(dtype)
    low = jax.tree.map(lambda a: a.astype(dtype), (params, x))
    np.testing.assert_array_equal(y, inner.apply(*low).astype(dtype))
    grads = jax.grad(lambda p: layer.apply(p, x).astype(jnp.float32).sum())(params)
    assert [a.dtype for a in jax.tree.leaves(grads)] == [jnp.float32] * 2


def test_params_in_a_cast_are_float32_after_another():
    model = Serial(Cast(Dense(4), "bfloat16"), Cast(Dense(3), "float32"), Dense(2))
    params = model.init(KEY, (2, 3))
    assert {a.dtype for a in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    low = Serial(Cast(Dense(4), "bfloat16"), Dense(3)).init(KEY, (2, 3))
    assert low[1]["weight"].dtype == jnp.bfloat16
    assert model.apply(params, normal((2, 3), jnp.float32)).dtype == jnp.float32


def test_cast_leaves_integers_and_keys():
    model = Cast(Serial(layers.Embed(7, 4), Dropout(0.5)), "bfloat16")
    ids = jnp.arange(7)
    params = model.init(KEY, ids)
    assert params[0]["table"].dtype == jnp.float32
    y = model.apply(params, ids, key=KEY)
    assert y.dtype == jnp.bfloat16
    assert (y == 0).any()


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


# Watching


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
        model.apply((({},),), jnp.ones(2))
    assert seen == [True, True]


def test_watching_ends_with_its_context():
    seen = []

    def watcher(call, params, x, **arguments):
        seen.append(call.name)
        raise ArithmeticError

    model = Serial(a=Relu())
    params = {"a": {}}
    with pytest.raises(ArithmeticError), watching(watcher):
        model.apply(params, jnp.ones(2))
    model.apply(params, jnp.ones(2))
    assert seen == ["a"]


def test_the_layers_name_what_is_compiled():
    model = Serial(stem=Conv(4, 3), body=Dense(2))
    x = jax.ShapeDtypeStruct((2, 5, 5, 3), jnp.float32)
    params = jax.eval_shape(model.init, KEY, x)
    text = jax.jit(jax.grad(lambda p, x: model.apply(p, x).sum())).lower(params, x)
    text = text.compile().as_text()
    for name in ("jvp(stem)", "transpose(jvp(body))"):
        assert f"/{name}/" in text
