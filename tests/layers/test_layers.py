"""Layers: what they draw, that they compute their op, and how they compose."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import layers, ops
from funcnn.layers import (
    AvgPool,
    Cast,
    Conv,
    ConvTranspose,
    Dense,
    DepthwiseConv,
    Dropout,
    Elu,
    Embed,
    Flatten,
    GeGLU,
    Gelu,
    GlobalAvgPool,
    GroupNorm,
    Lambda,
    Layer,
    LayerNorm,
    LeakyRelu,
    LogSoftmax,
    MaxPool,
    MultiHeadAttention,
    PositionalEmbedding,
    Relu,
    Remat,
    Residual,
    RMSNorm,
    SeparableConv,
    Serial,
    Sigmoid,
    Silu,
    Softmax,
    Softplus,
    Stack,
    SwiGLU,
    Tanh,
    Transformer,
    TransformerBlock,
)

KEY = jax.random.key(0)
IMAGE = (2, 6, 4, 3)
IDS = jax.ShapeDtypeStruct((2, 3), jnp.int32)
PLAIN = lambda op, *args, **kwargs: lambda params, x: op(x, *args, **kwargs)  # noqa: E731
AFFINE = lambda op, *args: lambda p, x: op(x, p["weight"], p.get("bias"), *args)  # noqa: E731


def halves(op, *args):
    """An op of the gates and the values in the two halves of a dense layer."""

    def f(p, x):
        y = x @ p["weight"] + p.get("bias", 0.0)
        middle = y.shape[-1] // 2
        return op(y[..., :middle], y[..., middle:], *args)

    return f


def sinusoids(length, features):
    """The table of Vaswani et al., element by element."""
    table = np.zeros((length, features))
    for pos, i in np.ndindex(length, features // 2):
        angle = pos / 10000 ** (2 * i / features)
        table[pos, 2 * i : 2 * i + 2] = math.sin(angle), math.cos(angle)
    return table


def attention(p, x):
    """Two heads of four features, as `MultiHeadAttention` has them."""
    q, k, v = (
        ops.dense(x, **p[n]).reshape(*x.shape[:2], 2, 2) for n in ("query", "key", "value")
    )
    return ops.dense(ops.attention(q, k, v).reshape(x.shape), **p["output"])


def block(p, x):
    """What `TransformerBlock` computes with two heads."""
    x = x + attention(p["attention"], ops.layer_norm(x, **p["attention_norm"]))
    h = ops.dense(ops.layer_norm(x, **p["mlp_norm"]), **p["mlp"]["hidden"])
    return x + ops.dense(ops.gelu(h), **p["mlp"]["output"])


def square(n):
    return {"weight": (n, n), "bias": (n,)}


PARTS = {name: square(4) for name in ("query", "key", "value", "output")}
LAYER_NORM = {"scale": (4,), "offset": (4,)}
BLOCK = {
    "attention": PARTS,
    "attention_norm": LAYER_NORM,
    "mlp": {
        "hidden": {"weight": (4, 16), "bias": (16,)},
        "activation": {},
        "output": {"weight": (16, 4), "bias": (4,)},
    },
    "mlp_norm": LAYER_NORM,
}


def first(tree):
    return jax.tree.map(lambda a: a[0], tree)


# Layer, input's shape, params' shapes, and what it computes. Tests below hold all of
# them, and that no layer is missing.
SAMPLES = {
    "Dense": (Dense(5), (2, 3), {"weight": (3, 5), "bias": (5,)}, AFFINE(ops.dense)),
    "Dense, no bias": (
        Dense(5, use_bias=False),
        (2, 3),
        {"weight": (3, 5)},
        AFFINE(ops.dense),
    ),
    "Dense of a sequence": (
        Dense(1),
        (2, 4, 3),
        {"weight": (3, 1), "bias": (1,)},
        AFFINE(ops.dense),
    ),
    "SwiGLU": (SwiGLU(4), (2, 3), {"weight": (3, 8)}, halves(ops.swiglu)),
    "SwiGLU, bias": (
        SwiGLU(2, use_bias=True),
        (2, 4, 3),
        {"weight": (3, 4), "bias": (4,)},
        halves(ops.swiglu),
    ),
    "GeGLU": (GeGLU(4), (2, 3), {"weight": (3, 8)}, halves(ops.geglu)),
    "GeGLU, exact, bias": (
        GeGLU(1, approximate=False, use_bias=True),
        (2, 3),
        {"weight": (3, 2), "bias": (2,)},
        halves(ops.geglu, False),
    ),
    "Conv": (Conv(8, 3), IMAGE, {"weight": (3, 3, 3, 8), "bias": (8,)}, AFFINE(ops.conv)),
    "Conv, no bias": (
        Conv(8, (2, 1), use_bias=False),
        IMAGE,
        {"weight": (2, 1, 3, 8)},
        AFFINE(ops.conv),
    ),
    "Conv of all options": (
        Conv(6, (3, 2), (2, 1), ((1, 0), (2, 1)), (1, 2), 3),
        IMAGE,
        {"weight": (3, 2, 1, 6), "bias": (6,)},
        AFFINE(ops.conv, (2, 1), ((1, 0), (2, 1)), (1, 2), 3),
    ),
    "Conv over 1 axis": (
        Conv(4, 3),
        (2, 6, 3),
        {"weight": (3, 3, 4), "bias": (4,)},
        AFFINE(ops.conv),
    ),
    "Conv over 3 axes": (
        Conv(4, 3, 2, "VALID"),
        (2, 6, 4, 3, 1),
        {"weight": (3, 3, 3, 1, 4), "bias": (4,)},
        AFFINE(ops.conv, 2, "VALID"),
    ),
    "DepthwiseConv": (
        DepthwiseConv(3),
        IMAGE,
        {"weight": (3, 3, 1, 3), "bias": (3,)},
        AFFINE(ops.conv, 1, "SAME", 1, 3),
    ),
    "DepthwiseConv, no bias": (
        DepthwiseConv((3, 2), (2, 1), ((1, 0), (2, 1)), (1, 2), 2, use_bias=False),
        IMAGE,
        {"weight": (3, 2, 1, 6)},
        AFFINE(ops.conv, (2, 1), ((1, 0), (2, 1)), (1, 2), 3),
    ),
    "SeparableConv": (
        SeparableConv(5, 3, 2, multiplier=2),
        IMAGE,
        {
            "depthwise": {"weight": (3, 3, 1, 6)},
            "pointwise": {"weight": (1, 1, 6, 5), "bias": (5,)},
        },
        lambda p, x: ops.conv(
            ops.conv(x, p["depthwise"]["weight"], None, 2, "SAME", 1, 3),
            p["pointwise"]["weight"],
            p["pointwise"]["bias"],
        ),
    ),
    "ConvTranspose": (
        ConvTranspose(4, 3, 2),
        IMAGE,
        {"weight": (3, 3, 3, 4), "bias": (4,)},
        AFFINE(ops.conv_transpose, 2),
    ),
    "ConvTranspose, no bias": (
        ConvTranspose(4, (3, 2), (1, 3), ((1, 0), (2, 1)), (2, 1), use_bias=False),
        IMAGE,
        {"weight": (3, 2, 3, 4)},
        AFFINE(ops.conv_transpose, (1, 3), ((1, 0), (2, 1)), (2, 1)),
    ),
    "LayerNorm": (
        LayerNorm(0.5),
        (2, 3),
        {"scale": (3,), "offset": (3,)},
        lambda p, x: ops.layer_norm(x, p["scale"], p["offset"], 0.5),
    ),
    "RMSNorm": (
        RMSNorm(0.5),
        (2, 3),
        {"scale": (3,)},
        lambda p, x: ops.rms_norm(x, p["scale"], 0.5),
    ),
    "GroupNorm": (
        GroupNorm(2, 0.5),
        (2, 3, 3, 4),
        {"scale": (4,), "offset": (4,)},
        lambda p, x: ops.group_norm(x, p["scale"], p["offset"], 2, 0.5),
    ),
    "Embed": (
        Embed(7, 4),
        IDS,
        {"table": (7, 4)},
        lambda p, ids: ops.embed(p["table"], ids),
    ),
    "PositionalEmbedding": (
        PositionalEmbedding(6, 3),
        (2, 4, 3),
        {"table": (6, 3)},
        lambda p, x: x + p["table"][:4],
    ),
    "PositionalEmbedding, sinusoidal": (
        PositionalEmbedding(2, 6, "sinusoidal"),
        (2, 4, 6),
        {},
        lambda p, x: x + sinusoids(4, 6),
    ),
    "Relu": (Relu(), (2, 3), {}, PLAIN(ops.relu)),
    "LeakyRelu": (LeakyRelu(), (2, 3), {}, PLAIN(ops.leaky_relu)),
    "LeakyRelu, steep": (LeakyRelu(0.5), (2, 3), {}, PLAIN(ops.leaky_relu, 0.5)),
    "Elu": (Elu(), (2, 3), {}, PLAIN(ops.elu)),
    "Elu, alpha": (Elu(0.5), (2, 3), {}, PLAIN(ops.elu, 0.5)),
    "Sigmoid": (Sigmoid(), (2, 3), {}, PLAIN(ops.sigmoid)),
    "Tanh": (Tanh(), (2, 3), {}, PLAIN(ops.tanh)),
    "Silu": (Silu(), (2, 3), {}, PLAIN(ops.silu)),
    "Gelu": (Gelu(), (2, 3), {}, PLAIN(ops.gelu)),
    "Gelu, exact": (Gelu(approximate=False), (2, 3), {}, PLAIN(ops.gelu, False)),
    "Softplus": (Softplus(), (2, 3), {}, PLAIN(ops.softplus)),
    "Softmax": (Softmax(), (2, 3), {}, PLAIN(ops.softmax)),
    "Softmax, axis": (Softmax(axis=0), (2, 3), {}, PLAIN(ops.softmax, 0)),
    "LogSoftmax": (LogSoftmax(), (2, 3), {}, PLAIN(ops.log_softmax)),
    "LogSoftmax, axis": (LogSoftmax(axis=0), (2, 3), {}, PLAIN(ops.log_softmax, 0)),
    "MaxPool": (MaxPool(2), IMAGE, {}, PLAIN(ops.max_pool, 2)),
    "MaxPool of all options": (
        MaxPool((3, 2), 1, "SAME"),
        IMAGE,
        {},
        PLAIN(ops.max_pool, (3, 2), 1, "SAME"),
    ),
    "AvgPool": (AvgPool(2), IMAGE, {}, PLAIN(ops.avg_pool, 2)),
    "AvgPool of all options": (
        AvgPool((3, 2), 1, "SAME"),
        IMAGE,
        {},
        PLAIN(ops.avg_pool, (3, 2), 1, "SAME"),
    ),
    "GlobalAvgPool": (GlobalAvgPool(), IMAGE, {}, lambda p, x: x.mean((1, 2))),
    "Flatten": (Flatten(), IMAGE, {}, lambda p, x: x.reshape(2, 72)),
    "Dropout": (Dropout(0.5), (2, 3), {}, lambda p, x: x),
    "Lambda": (Lambda(jnp.cos), (2, 3), {}, PLAIN(jnp.cos)),
    "Serial": (
        Serial(Dense(2), Relu()),
        (2, 3),
        ({"weight": (3, 2), "bias": (2,)}, {}),
        lambda p, x: ops.relu(ops.dense(x, **p[0])),
    ),
    "Serial, named": (
        Serial(first=Relu(), second=Dense(2)),
        (2, 3),
        {"first": {}, "second": {"weight": (3, 2), "bias": (2,)}},
        lambda p, x: ops.dense(ops.relu(x), **p["second"]),
    ),
    "Residual": (
        Residual(Relu(), Dense(3)),
        (2, 3),
        ({}, {"weight": (3, 3), "bias": (3,)}),
        lambda p, x: x + ops.dense(ops.relu(x), **p[1]),
    ),
    "Residual, named": (
        Residual(only=Dense(3)),
        (2, 3),
        {"only": {"weight": (3, 3), "bias": (3,)}},
        lambda p, x: x + ops.dense(x, **p["only"]),
    ),
    "Remat": (
        Remat(Serial(Dense(3), Relu())),
        (2, 3),
        ({"weight": (3, 3), "bias": (3,)}, {}),
        lambda p, x: ops.relu(ops.dense(x, **p[0])),
    ),
    "Cast": (
        Cast(Dense(5), "float64"),
        (2, 3),
        {"weight": (3, 5), "bias": (5,)},
        AFFINE(ops.dense),
    ),
    "MultiHeadAttention": (MultiHeadAttention(2), (2, 3, 4), PARTS, attention),
    "TransformerBlock": (TransformerBlock(2), (2, 3, 4), BLOCK, block),
    "Stack": (
        Stack(Dense(3), 1),
        (2, 3),
        {"weight": (1, 3, 3), "bias": (1, 3)},
        lambda p, x: ops.dense(x, **first(p)),
    ),
    "Transformer": (
        Transformer(7, 4, 2, 1, positions=None, causal=False, tied=False),
        IDS,
        {
            "tokens": {"table": (7, 4)},
            "blocks": jax.tree.map(
                lambda s: (1, *s), BLOCK, is_leaf=lambda s: isinstance(s, tuple)
            ),
            "norm": LAYER_NORM,
            "head": {"weight": (4, 7)},
        },
        lambda p, x: (
            ops.layer_norm(block(first(p["blocks"]), p["tokens"]["table"][x]), **p["norm"])
            @ p["head"]["weight"]
        ),
    ),
}
each_sample = pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)


def normal(shape, dtype=jnp.float64):
    if shape is IDS:
        return jnp.asarray(np.random.default_rng(1).integers(0, 7, IDS.shape), IDS.dtype)
    return jnp.asarray(np.random.default_rng(1).standard_normal(shape), dtype)


def abstract(layer, shape, dtype=jnp.float32):
    """What `init` and `apply` give, without the time to compute it."""
    x = shape if hasattr(shape, "dtype") else jax.ShapeDtypeStruct(shape, dtype)
    params = jax.eval_shape(layer.init, KEY, x)
    return params, jax.eval_shape(layer.apply, params, x)


def drawn(layer, shape, dtype=jnp.float64):
    """Params with nothing of their beginnings left: no zeros, no ones."""
    rng = np.random.default_rng(3)
    params, _ = abstract(layer, shape, dtype)
    return jax.tree.map(lambda a: jnp.asarray(rng.standard_normal(a.shape), dtype), params)


def shapes(tree):
    return jax.tree.map(lambda a: a.shape, tree)


def dtypes(tree):
    return {a.dtype for a in jax.tree.leaves(tree)}


def assert_equal(got, want, rtol=0.0):
    jax.tree.map(lambda g, w: np.testing.assert_allclose(g, w, rtol, rtol), got, want)


def test_every_layer_has_a_sample():
    public = {name for name in vars(layers) if name[0].isupper()} - {"Layer", "Cache"}
    assert public == {name.split(",")[0].split(" ")[0] for name in SAMPLES}


# Drawing params


@each_sample
def test_init_gives_params_of_these_shapes(sample):
    layer, shape, params, _ = sample
    assert isinstance(layer, Layer)
    assert shapes(abstract(layer, shape)[0]) == params


@each_sample
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64])
def test_params_have_the_dtype_of_the_input(sample, dtype):
    layer, shape, *_ = sample
    params, y = abstract(layer, shape, dtype)
    if layer is SAMPLES["Cast"][0]:  # what it is for is another dtype
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


def test_what_init_takes_for_a_shape():
    params = Dense(2).init(KEY, (4, 3))
    struct = jax.ShapeDtypeStruct((4, 3), jnp.float32)
    for like in (struct, np.ones((4, 3), np.float32), jnp.ones((4, 3), jnp.float32)):
        assert_equal(Dense(2).init(KEY, like), params)
    assert_equal(Dense(2).init(KEY, tuple(np.array([4, 3]))), params)


def test_params_of_an_integer_input_are_float32():
    model = Serial(Lambda(lambda ids: jnp.cos(ids.astype(jnp.float32))), Dense(2))
    for layer in (model, Dense(2), Conv(2, 1), LayerNorm()):
        ids = jax.ShapeDtypeStruct((2, 3, 4), jnp.int32)
        params = jax.eval_shape(layer.init, KEY, ids)
        assert dtypes(params) == {jnp.dtype("float32")}


@pytest.mark.parametrize("in_features, features", [(400, 1000), (1000, 400)])
def test_dense_starts_glorot_normal(in_features, features):
    params = Dense(features).init(KEY, (1, in_features))
    n = in_features * features
    std = (2 / (in_features + features)) ** 0.5
    # five standard errors; a normal's sample variance has a relative one of (2/n)**0.5
    assert abs(params["weight"].mean()) < 5 * std / n**0.5
    assert params["weight"].var() == pytest.approx(std**2, rel=5 * (2 / n) ** 0.5)
    assert_equal(params["bias"], np.zeros(features))


@pytest.mark.parametrize("kernel_size, groups", [((3, 3), 1), ((1, 5), 1), ((3, 3), 4)])
def test_conv_starts_he_normal(kernel_size, groups):
    params = Conv(256, kernel_size, groups=groups).init(KEY, (1, 8, 8, 64))
    fan_in = math.prod(kernel_size) * 64 // groups
    n = fan_in * 256
    std = (2 / fan_in) ** 0.5
    assert abs(params["weight"].mean()) < 5 * std / n**0.5
    assert params["weight"].var() == pytest.approx(std**2, rel=5 * (2 / n) ** 0.5)
    assert_equal(params["bias"], np.zeros(256))


@pytest.mark.parametrize("features", [16, 400])
def test_embeddings_start_with_rows_of_length_one(features):
    for layer, x in (
        (Embed(1000, features), IDS),
        (PositionalEmbedding(1000, features), (1, 2, features)),
    ):
        table = layer.init(KEY, x)["table"]
        n = table.size
        assert abs(table.mean()) < 5 / (n * features) ** 0.5
        assert table.var() == pytest.approx(1 / features, rel=5 * (2 / n) ** 0.5)
    params = Embed(3, 2, table_init=lambda key, *like: jnp.full(*like[:1], 2)).init(
        KEY, IDS
    )
    assert_equal(params, {"table": np.full((3, 2), 2)})


@pytest.mark.parametrize("norm", [LayerNorm(), RMSNorm(), GroupNorm(3)])
def test_norms_start_with_scale_one_and_offset_zero(norm):
    params = norm.init(KEY, (2, 5, 3))
    assert_equal(params.pop("scale"), np.ones(3))
    assert_equal(params.get("offset", np.zeros(3)), np.zeros(3))
    assert set(params) <= {"offset"}


@pytest.mark.parametrize(
    "make",
    [
        Dense,
        lambda *a, **k: SwiGLU(a[0] // 2, use_bias=True, **k),
        lambda *a, **k: GeGLU(a[0] // 2, use_bias=True, **k),
        lambda *a, **k: Conv(a[0], 3, **k),
        lambda *a, **k: ConvTranspose(a[0], 3, **k),
    ],
)
def test_initializers_are_called_as_jax_calls_its_own(make):
    seen = []

    def recorded(value):
        def init(key, shape, dtype):
            seen.append((jax.random.key_data(key).tolist(), shape, dtype))
            return jnp.full(shape, value, dtype)

        return init

    layer = make(4, weight_init=recorded(2), bias_init=recorded(3))
    params = layer.init(KEY, jax.ShapeDtypeStruct((1, 5, 3), jnp.bfloat16))
    assert (params["weight"] == 2).all()
    assert (params["bias"] == 3).all()
    assert [shape for _, shape, _ in seen] == shapes([params["weight"], params["bias"]])
    assert [dtype for *_, dtype in seen] == [jnp.bfloat16] * 2
    assert seen[0][0] != seen[1][0], "weight and bias share a key"


@each_sample
def test_init_maps_over_keys(sample):
    layer, shape, params, _ = sample
    keys = jax.eval_shape(lambda key: jax.random.split(key, 3), KEY)
    ensemble = jax.eval_shape(jax.vmap(lambda key: layer.init(key, shape)), keys)
    rows = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), ensemble)
    assert shapes(rows) == params
    assert all(a.shape[0] == 3 for a in jax.tree.leaves(ensemble))


def test_init_under_transformations():
    model = Serial(Conv(4, 3), Residual(LayerNorm(), Relu()), Flatten(), Dense(2))
    shape = (1, 3, 2, 1)
    init = lambda key: model.init(key, shape)  # noqa: E731
    keys = jax.random.split(KEY)
    ensemble = jax.jit(jax.vmap(init))(keys)
    for i in range(2):
        assert_equal(jax.tree.map(lambda a, i=i: a[i], ensemble), init(keys[i]), rtol=1e-6)


def test_layers_draw_from_different_keys():
    params = Serial(Dense(3), Dense(3), Residual(Dense(3)), Serial(a=Dense(3))).init(
        KEY, (1, 3)
    )
    weights = [a.tolist() for a in jax.tree.leaves(params) if a.ndim == 2]
    assert len({str(w) for w in weights}) == 4
    other = Serial(Dense(3)).init(jax.random.key(1), (1, 3))
    assert (other[0]["weight"] != params[0]["weight"]).all()


def test_layers_draw_the_same_with_names_and_without():
    named = Serial(a=Dense(3), b=Dense(2)).init(KEY, (1, 3))
    assert list(named) == ["a", "b"]
    assert_equal(tuple(named.values()), Serial(Dense(3), Dense(2)).init(KEY, (1, 3)))


def test_what_comes_first_does_not_depend_on_what_comes_after():
    short = Serial(Dense(3)).init(KEY, (1, 3))
    long = Serial(Dense(3), Dense(2)).init(KEY, (1, 3))
    assert_equal(long[0], short[0])


# Computing


@each_sample
def test_apply_computes_the_op(sample):
    layer, shape, _, op = sample
    params, x = drawn(layer, shape), normal(shape)
    want = op(params, x)
    assert_equal(layer.apply(params, x), want, rtol=1e-14)
    if layer is not SAMPLES["Dropout"][0]:
        assert_equal(layer.apply(params, x, key=KEY), want, rtol=1e-14)


@each_sample
def test_an_empty_batch(sample):
    layer, shape, *_ = sample
    none = IDS.update(shape=(0, 3)) if shape is IDS else (0, *shape[1:])
    (_, full), (_, empty) = abstract(layer, shape), abstract(layer, none)
    assert empty.shape == (0, *full.shape[1:])


def test_flatten_of_vectors():
    assert Flatten().apply({}, jnp.ones(3)).shape == (3, 1)
    assert Flatten().apply({}, jnp.ones((3, 0, 2))).shape == (3, 0)


def test_learned_positions_sum_their_gradient_in_float32():
    # in bfloat16, 256 + 1 is 256
    layer = PositionalEmbedding(4, 2)
    x = jnp.zeros((1000, 3, 2), jnp.bfloat16)
    params = layer.init(KEY, x)
    dtable = jax.grad(lambda p: layer.apply(p, x).astype(jnp.float32).sum())(params)
    assert dtable["table"].dtype == jnp.bfloat16
    assert_equal(dtable["table"], [[1000] * 2] * 3 + [[0] * 2])


def test_sinusoids_are_accurate_far_out():
    # a product in float32 is off by 0.001 here
    n = 20_000
    y = PositionalEmbedding(1, 8, "sinusoidal").apply({}, jnp.zeros((n, 8), jnp.float32))
    assert y.dtype == jnp.float32
    np.testing.assert_allclose(y, sinusoids(n, 8), 0, 1e-6)


def test_a_language_model_may_tie_its_head():
    model = Serial(
        tokens=Embed(7, 4), places=PositionalEmbedding(3, 4), block=Residual(LayerNorm())
    )
    params, ids = drawn(model, IDS), normal(IDS)

    def tied(p):
        return ops.dense(model.apply(p, ids), p["tokens"]["table"].T)

    def textbook(p):
        x = p["tokens"]["table"][ids] + p["places"]["table"]
        norm = p["block"][0]
        h = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return (x + h * norm["scale"] + norm["offset"]) @ p["tokens"]["table"].T

    def value_and_grad(f):
        return jax.jit(jax.value_and_grad(lambda p: (f(p) ** 2).mean()))(params)

    assert_equal(value_and_grad(tied), value_and_grad(textbook), rtol=1e-10)


def test_global_avg_pool_sums_in_float32():
    # in bfloat16, 256 + 1 is 256
    x = jnp.full((1, 40, 40, 1), 1.0, jnp.bfloat16)
    y = jax.jit(GlobalAvgPool().apply)({}, x)
    assert (y.dtype, y.tolist()) == (jnp.bfloat16, [[1.0]])
    for shape in ((2, 5, 3), (2, 2, 3, 4, 5)):
        x = normal(shape)
        axes = tuple(range(1, len(shape) - 1))
        assert_equal(GlobalAvgPool().apply({}, x), x.mean(axes), rtol=1e-14)


def test_a_convolutional_network_is_the_textbook_one():
    model = Serial(
        stem=Conv(8, 3, 2, use_bias=False),
        block=Residual(LayerNorm(), Conv(8, 3, groups=2), Gelu(approximate=False)),
        pool=MaxPool(2),
        head=Serial(Flatten(), Dense(16), Tanh(), Dense(4)),
    )
    x = normal((2, 8, 8, 3))
    params = drawn(model, x.shape)

    def conv(x, w, stride, groups):
        dims = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            x,
            w,
            (stride, stride),
            "SAME",
            dimension_numbers=dims,
            feature_group_count=groups,
        )

    def textbook(p, x):
        x = conv(x, p["stem"]["weight"], 2, 1)
        norm, filters, _ = p["block"]
        h = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-6)
        h = h * norm["scale"] + norm["offset"]
        x = x + jax.nn.gelu(conv(h, filters["weight"], 1, 2) + filters["bias"], False)
        x = x.reshape(2, 2, 2, 2, 2, 8).max((2, 4)).reshape(2, -1)
        _, hidden, _, out = p["head"]
        x = jnp.tanh(x @ hidden["weight"] + hidden["bias"])
        return x @ out["weight"] + out["bias"]

    def value_and_grad(f):
        return jax.jit(jax.value_and_grad(lambda p: (f(p, x) ** 2).mean()))(params)

    assert_equal(value_and_grad(model.apply), value_and_grad(textbook), rtol=1e-10)


def test_an_ensemble_trains_as_its_members_do():
    model = Serial(Dense(8), Silu(), Dense(1))
    x = normal((5, 3), jnp.float32)
    keys = jax.random.split(KEY)

    @jax.jit
    def gradient(key):
        params = model.init(key, x)
        return jax.grad(lambda p: (model.apply(p, x) ** 2).mean())(params)

    together = jax.jit(jax.vmap(gradient))(keys)
    for i, key in enumerate(keys):
        alone = gradient(key)
        assert_equal(jax.tree.map(lambda a, i=i: a[i], together), alone, rtol=1e-5)


# Keys


def test_dropout_is_the_identity_without_a_key():
    x = normal((50, 20))
    assert Dropout(0.5).apply({}, x) is x
    assert_equal(Dropout(0.5).apply({}, x, key=None), x)


@pytest.mark.parametrize("rate", [0, 0.0, 0.25, 1, 1.0])
def test_dropout_with_a_key_is_the_op(rate):
    x = normal((50, 20))
    y = Dropout(rate).apply({}, x, key=KEY)
    assert_equal(y, ops.dropout(KEY, x, rate))
    assert (y == 0).mean() == pytest.approx(rate, abs=0.07)


def test_serial_folds_the_position_into_the_key():
    x = normal((50, 20))
    model = Serial(Dropout(0.5), Serial(a=Relu(), b=Dropout(0.25)))
    params = model.init(KEY, x)
    second = jax.random.fold_in(jax.random.fold_in(KEY, 1), 1)
    want = ops.dropout(jax.random.fold_in(KEY, 0), x, 0.5)
    want = ops.dropout(second, ops.relu(want), 0.25)
    assert_equal(model.apply(params, x, key=KEY), want)
    assert_equal(jax.jit(model.apply)(params, x, key=KEY), want)
    assert_equal(model.apply(params, x), ops.relu(x))


def test_residual_passes_the_key_on():
    x = normal((50, 20))
    model = Residual(Dropout(0.5))
    params = model.init(KEY, x)
    want = x + ops.dropout(jax.random.fold_in(KEY, 0), x, 0.5)
    assert_equal(model.apply(params, x, key=KEY), want)
    assert_equal(model.apply(params, x), 2 * x)


def test_keys_of_the_old_kind():
    old = jax.random.PRNGKey(0)
    model = Serial(Dense(3), Dropout(0.5))
    params = model.init(old, (1, 3))
    assert model.apply(params, jnp.ones((4, 3), jnp.float32), key=old).shape == (4, 3)


# Composition


def test_serial_of_nothing_is_the_identity():
    assert Serial().init(KEY, (2, 3)) == ()
    x = normal((2, 3))
    assert Serial().apply((), x) is x


def test_serial_passes_pytrees_on():
    model = Serial(Lambda(lambda pair: pair[0] + pair[1]), Dense(3))
    shape = ((2, 4), jax.ShapeDtypeStruct((4,), jnp.float32))
    params = model.init(KEY, shape)
    assert shapes(params) == ({}, {"weight": (4, 3), "bias": (3,)})
    pair = (jnp.ones((2, 4), jnp.float32), jnp.ones(4, jnp.float32))
    assert model.apply(params, pair).shape == (2, 3)


def test_a_layer_of_ones_own():
    def Scale():
        def init(key, shape):
            return {"scale": jnp.full(shape.shape[-1], 2, shape.dtype)}

        return Layer(init, lambda params, x, *, key=None: params["scale"] * x)

    model = Serial(Dense(3), scale_free := Relu(), Scale())
    params = model.init(KEY, (2, 4))
    assert shapes(params)[2] == {"scale": (3,)}
    x = normal((2, 4), jnp.float32)
    assert_equal(
        model.apply(params, x), 2 * scale_free.apply({}, ops.dense(x, **params[0]))
    )


def test_serial_takes_params_back_from_a_list():
    model = Serial(Dense(3), Relu())
    params, x = model.init(KEY, (2, 4)), normal((2, 4), jnp.float32)
    assert_equal(model.apply(list(params), x), model.apply(params, x))


def test_residual_promotes():
    x = normal((2, 3), jnp.bfloat16)
    params = Dense(3).init(KEY, (2, 3))
    assert Residual(Dense(3)).apply((params,), x).dtype == jnp.float32


def test_few_frames_between_the_user_and_the_op():
    frames = []

    def record(x):
        import traceback

        frames.extend(f.name for f in traceback.extract_stack() if "funcnn" in f.filename)
        return x

    model = Serial(Lambda(record))
    model.apply(({},), jnp.ones(3))
    assert frames == ["apply", "apply"]


# Errors


def fails(kind, message, f, *args, note=None, **kwargs):
    with pytest.raises(kind, match=re.escape(message)) as caught:
        f(*args, **kwargs)
    if note:
        assert note in caught.value.__notes__


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


@pytest.mark.parametrize(
    "args, kind, message",
    [
        ((4, 0), ValueError, "Conv needs kernel_size of at least 1; got 0."),
        ((4, (3, -1)), ValueError, "Conv needs kernel_size of at least 1; got -1."),
        ((4, 3.0), TypeError, "Conv needs an integer kernel_size; got 3.0."),
        ((4, "3"), TypeError, "Conv needs an integer kernel_size; got '3'."),
        ((4, 3, 1, "SAME", 1, 0), ValueError, "Conv needs groups of at least 1; got 0."),
        ((4, 3, 1, "SAME", 1, 1.0), TypeError, "Conv needs an integer groups; got 1.0."),
        (
            (4, 3, 1, "SAME", 1, 3),
            ValueError,
            "Conv needs groups that divide its 4 features; got 3.",
        ),
    ],
)
def test_wrong_conv(args, kind, message):
    fails(kind, message, Conv, *args)


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


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan"), float("inf")])
def test_dropout_rate_out_of_range(rate):
    fails(ValueError, f"Dropout needs rate in [0.0, 1.0]; got {rate}.", Dropout, rate)


@pytest.mark.parametrize("rate", ["half", None, (0.5,)])
def test_dropout_rate_no_number(rate):
    fails(TypeError, f"Dropout needs a number for rate; got {rate!r}.", Dropout, rate)


@pytest.mark.parametrize("name", ["LayerNorm", "RMSNorm", "GroupNorm"])
def test_a_norm_of_a_wrong_eps(name):
    def norm(eps):
        return getattr(layers, name)(
            **{"groups": 2} if name == "GroupNorm" else {}, eps=eps
        )

    fails(ValueError, f"{name} needs eps of at least 0.0; got -1.", norm, -1)
    fails(TypeError, f"{name} needs a number for eps; got 'x'.", norm, "x")


@pytest.mark.parametrize("make", [DepthwiseConv, lambda *a: SeparableConv(4, *a)])
def test_wrong_depthwise_conv(make):
    name = "DepthwiseConv"
    fails(ValueError, f"{name} needs kernel_size of at least 1; got 0.", make, 0)
    message = f"{name} needs multiplier of at least 1; got 0."
    fails(ValueError, message, make, 3, 1, "SAME", 1, 0)
    message = f"{name} needs every spatial axis, padded, at least as long"
    fails(ValueError, message, make(9, 1, "VALID").init, KEY, IMAGE)


def test_wrong_conv_transpose():
    name = "ConvTranspose"
    fails(ValueError, f"{name} needs features of at least 1; got 0.", ConvTranspose, 0, 3)
    message = f"{name} needs an integer kernel_size; got 1.5."
    fails(TypeError, message, ConvTranspose, 2, (3, 1.5))
    message = f"{name} needs every spatial axis, spread out and padded, at least as long"
    init = ConvTranspose(2, 9, padding=0).init
    fails(ValueError, message, init, KEY, IMAGE)


@pytest.mark.parametrize("make", [SwiGLU, GeGLU])
def test_wrong_gated_layers(make):
    name = make.__name__
    fails(ValueError, f"{name} needs features of at least 1; got 0.", make, 0)
    fails(TypeError, f"{name} needs an integer features; got 1.5.", make, 1.5)


def test_groups_that_do_not_fit():
    fails(ValueError, "GroupNorm needs groups of at least 1; got 0.", GroupNorm, 0)
    fails(TypeError, "GroupNorm needs an integer groups; got 0.5.", GroupNorm, 0.5)
    message = "GroupNorm needs groups that divide the 3 channels of x; got 2."
    fails(ValueError, message, GroupNorm(2).init, KEY, (2, 5, 3))
    message = "GroupNorm needs x of shape (N, *spatial, C) with 1, 2 or 3 spatial axes; "
    fails(ValueError, message + "got (2, 4).", GroupNorm(2).init, KEY, (2, 4))


def test_wrong_embeddings():
    fails(ValueError, "Embed needs vocabulary of at least 1; got 0.", Embed, 0, 4)
    fails(TypeError, "Embed needs an integer features; got 4.0.", Embed, 7, 4.0)
    message = (
        "Embed needs x of an integer dtype; got float32 of shape (2, 3). In init, a tuple "
        "of ints stands for float32: give jax.ShapeDtypeStruct((2, 3), 'int32')."
    )
    fails(TypeError, message, Embed(7, 4).init, KEY, normal((2, 3), jnp.float32))
    fails(TypeError, message, Serial(Embed(7, 4)).init, KEY, (2, 3))
    fails(TypeError, "Embed needs the shape of one array", Embed(7, 4).init, KEY, [(2,)])
    assert shapes(Embed(7, 4).init(KEY, (2, 3))) == {"table": (7, 4)}
    message = "embed needs ids of an integer dtype; got float64"
    fails(TypeError, message, Embed(7, 4).apply, {"table": jnp.ones((7, 4))}, normal((2,)))


def test_wrong_positional_embeddings():
    make, name = PositionalEmbedding, "PositionalEmbedding"
    fails(ValueError, f"{name} needs length of at least 1; got 0.", make, 0, 4)
    fails(TypeError, f"{name} needs an integer features; got '4'.", make, 3, "4")
    message = f"{name} needs a kind of learned or sinusoidal; got 'cosine'."
    fails(ValueError, message, make, 3, 4, "cosine")
    message = f"{name} needs even features if sinusoidal; got 5."
    fails(ValueError, message, make, 3, 5, "sinusoidal")
    layer, params = make(3, 4), {"table": jnp.ones((3, 4))}
    for shape, message in (
        (
            (2, 5, 4),
            "needs at most 3 positions, its length; got 5 in x of shape (2, 5, 4).",
        ),
        ((2, 3, 5), "needs x of shape (..., T, 4); got (2, 3, 5)."),
        ((4,), "needs x of shape (..., T, 4); got (4,)."),
    ):
        fails(ValueError, f"{name} {message}", layer.init, KEY, shape)
        fails(ValueError, f"{name} {message}", layer.apply, params, jnp.ones(shape))
    message = f"{name} needs x of a floating-point dtype; got int32"
    fails(TypeError, message, layer.apply, params, jnp.ones((3, 4), jnp.int32))


DENSE = {"weight": jnp.ones((3, 2)), "bias": jnp.ones(2)}
NORM = {"scale": jnp.ones(3), "offset": jnp.ones(3)}


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
    x = jnp.ones((2, 3))
    fails(kind, message, layer.apply, params, x)
    fails(kind, message, jax.jit(layer.apply), params, x)


@pytest.mark.parametrize(
    "layer, message",
    [
        (Relu, "Serial needs layers; got the function Relu (did you mean Relu()?)"),
        (Dense, "got the function Dense (did you mean Dense()?) as layer 1."),
        (jnp.cos, "got the function cos (did you mean Lambda(cos)?) as layer 1."),
        (ops.relu, "got the function relu (did you mean Lambda(relu)?) as layer 1."),
        ([Relu()], "got a list (did you mean Serial(*layers)?) as layer 1."),
        (3, "Serial needs layers; got 3 as layer 1."),
        (None, "Serial needs layers; got None as layer 1."),
    ],
)
def test_what_is_no_layer(layer, message):
    fails(TypeError, message, Serial, Flatten(), layer)
    fails(TypeError, message, Residual, Flatten(), layer)
    named = message.replace("as layer 1", "as layer 'head'")
    fails(TypeError, named, Serial, stem=Flatten(), head=layer)


def test_serial_names_all_or_none():
    message = "Serial needs all of its layers named, or none; got both."
    fails(TypeError, message, Serial, Relu(), head=Dense(2))


def test_lambda_of_no_function():
    fails(TypeError, "Lambda needs a function; got 3.", Lambda, 3)


def test_flatten_and_pool_of_a_wrong_rank():
    fails(
        ValueError, "Flatten needs x of shape (N, ...); got ().", Flatten().apply, {}, 1.0
    )
    fails(TypeError, "Flatten needs x to be an array; got list.", Flatten().apply, {}, [1])
    pool = GlobalAvgPool().apply
    fails(TypeError, "GlobalAvgPool needs x of a floating-point dtype", pool, {}, 1)
    for shape in ((), (2,), (2, 3), (1,) * 6):
        message = "needs x of shape (N, *spatial, C) with 1, 2 or 3 spatial axes"
        fails(ValueError, message, pool, {}, jnp.ones(shape))


def test_residual_of_other_shapes():
    layer, x = Residual(Lambda(lambda x: x[:1])), jnp.ones((2, 3))
    message = (
        "Residual needs layers that keep the shape of x; got (1, 3) for x of shape (2, 3)"
    )
    fails(ValueError, message, layer.apply, ({},), x)
    fails(TypeError, "Residual needs x to be an array; got tuple", layer.apply, ({},), (x,))


def test_serial_says_which_layer_failed():
    positional = Serial(Relu(), Serial(Flatten(), Dense(2)))
    named = Serial(stem=Relu(), head=MaxPool(9))
    for transform in (lambda f: f, jax.jit):
        with pytest.raises(ValueError, match="dense needs x of shape") as caught:
            transform(positional.apply)(({}, ({}, DENSE)), jnp.ones((2, 5)))
        notes = [n for n in caught.value.__notes__ if "layer" in n]
        assert notes == ["In layer 1 of Serial.", "In layer 1 of Serial."]
        with pytest.raises(ValueError, match="max_pool needs every spatial") as caught:
            transform(named.apply)({"stem": {}, "head": {}}, jnp.ones(IMAGE))
        assert "In layer 'head' of Serial." in caught.value.__notes__
    note = "In layer 'head' of Serial."
    fails(ValueError, "max_pool needs every spatial", named.init, KEY, IMAGE, note=note)
    bad = Serial(stem=Relu(), head=Conv(2, 3))
    fails(ValueError, "Conv needs x of shape", bad.init, KEY, (2, 3), note=note)
