"""Whole models, against code that says what they are."""

import jax
import jax.numpy as jnp
import pytest

from funcnn import ops
from funcnn.layers import (
    Conv,
    Dense,
    Embed,
    Flatten,
    Gelu,
    LayerNorm,
    MaxPool,
    PositionalEmbedding,
    Residual,
    Serial,
    Tanh,
)
from tests.support.layer_samples import IDS
from tests.support.layers import assert_equal, drawn, normal


def values_and_gradients(params, f, g, *x):
    """Of two functions of the params, in one program."""
    both = [jax.value_and_grad(lambda p, f=f: (f(p, *x) ** 2).mean()) for f in (f, g)]
    return jax.jit(lambda params: [h(params) for h in both])(params)


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

    assert_equal(*values_and_gradients(params, tied, textbook), rtol=1e-10)


# compiled without optimizations, XLA's own gradient of a filter in groups is NaN
@pytest.mark.usefixtures("compiled_for_use")
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

    both = values_and_gradients(params, model.apply, textbook, x)
    assert_equal(*both, rtol=1e-10)
