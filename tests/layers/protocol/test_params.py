"""What layers draw: in float32 and then rounded, and by the fans of each part."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.nn import initializers

from funcnn import layers
from tests.support.layer_samples import IDS, SAMPLES
from tests.support.layers import KEY

DRAWS = {
    name: (layer, shape)
    for name, (layer, shape, params, _) in SAMPLES.items()
    if params and shape is not IDS and layer is not SAMPLES["Cast"][0]
}
GLOROT = {"weight_init": initializers.glorot_normal()}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", DRAWS)
def test_params_of_few_bits_are_float32_ones_rounded(name, dtype):
    layer, shape = DRAWS[name]
    wide = layer.init(KEY, shape)
    narrow = layer.init(KEY, as_dtype(shape, dtype))
    for w, n in zip(jax.tree.leaves(wide), jax.tree.leaves(narrow), strict=True):
        assert n.dtype == dtype
        np.testing.assert_array_equal(n, w.astype(dtype))


def as_dtype(shape, dtype):
    def leaf(s):
        return jax.ShapeDtypeStruct(getattr(s, "shape", s), dtype)

    def one(s):
        return hasattr(s, "shape") or all(isinstance(n, int) for n in s)

    return jax.tree.map(leaf, shape, is_leaf=one)


def test_a_draw_in_bfloat16_is_fair():
    weight = layers.Dense(1024).init(KEY, jax.ShapeDtypeStruct((1, 256), "bfloat16"))
    weight = np.asarray(weight["weight"], "float64")
    std = (2 / (256 + 1024)) ** 0.5
    assert abs(weight.mean()) < 4 * std / weight.size**0.5
    assert weight.std() == pytest.approx(std, rel=4 * (0.5 / weight.size) ** 0.5)
    assert len(np.unique(weight)) > 1000


def test_a_positions_table_is_drawn_in_float32():
    layer = layers.PositionalEmbedding(512, 64)
    narrow = layer.init(KEY, jax.ShapeDtypeStruct((1, 3, 64), "float16"))["table"]
    wide = layer.init(KEY, (1, 3, 64))["table"]
    np.testing.assert_array_equal(narrow, wide.astype("float16"))


@pytest.mark.parametrize(
    "layer, shape, std, parts",
    [
        (layers.SwiGLU(1024), (1, 256), (2 / (256 + 1024)) ** 0.5, 2),
        (layers.GeGLU(512, use_bias=True), (1, 128), (2 / (128 + 512)) ** 0.5, 2),
        (
            layers.Conv(128, 3, groups=4, **GLOROT),
            (1, 5, 5, 64),
            (2 / (144 + 288)) ** 0.5,
            4,
        ),
        (layers.Conv(128, 3, groups=4), (1, 5, 5, 64), (2 / 144) ** 0.5, 4),
        (
            layers.DepthwiseConv(3, multiplier=2, **GLOROT),
            (1, 5, 5, 512),
            (2 / 27) ** 0.5,
            512,
        ),
        (layers.DepthwiseConv(5), (1, 5, 5, 256), (2 / 25) ** 0.5, 256),
    ],
)
def test_each_part_of_a_weight_starts_as_it_would_alone(layer, shape, std, parts):
    weight = np.asarray(layer.init(KEY, shape)["weight"])
    assert weight.std() == pytest.approx(std, rel=4 * (0.5 / weight.size) ** 0.5)
    each = np.split(weight, parts, -1)
    assert not any(np.array_equal(each[0], other) for other in each[1:])


def test_an_orthogonal_gate_and_an_orthogonal_value():
    layer = layers.SwiGLU(8, weight_init=initializers.orthogonal())
    w, v = jnp.split(layer.init(KEY, (1, 8))["weight"], 2, -1)
    for half in (w, v):
        np.testing.assert_allclose(half.T @ half, np.eye(8), atol=1e-5)
