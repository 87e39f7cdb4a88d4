"""A layer of every kind: its input's shape, its params' shapes, and what it computes."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from funcnn import ops
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
    GlobalMaxPool,
    GroupNorm,
    Lambda,
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


# Layer, input's shape, params' shapes, and what it computes.
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
    "GlobalMaxPool": (GlobalMaxPool(), IMAGE, {}, lambda p, x: x.max((1, 2))),
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
