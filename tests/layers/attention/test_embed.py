"""Embeddings of tokens and positions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn.layers import Embed, PositionalEmbedding, Serial
from funcnn.layers.attention._transformer import lengthened
from tests.support.layer_samples import IDS, sinusoids
from tests.support.layers import KEY, abstract, assert_equal, fails, filled, normal, shapes


@pytest.mark.parametrize("features", [pytest.param(16, marks=pytest.mark.exhaustive), 400])
def test_embeddings_start_with_rows_of_length_one(features):
    for layer, x in (
        (Embed(1000, features), IDS),
        (PositionalEmbedding(1000, features), (1, 2, features)),
    ):
        table = np.asarray(layer.init(KEY, x)["table"])
        n = table.size
        assert abs(table.mean()) < 5 / (n * features) ** 0.5
        assert table.var() == pytest.approx(1 / features, rel=5 * (2 / n) ** 0.5)
    twos = lambda key, *like: np.full(*like[:1], 2)  # noqa: E731
    params = Embed(3, 2, table_init=twos).init(KEY, IDS)
    assert_equal(params, {"table": np.full((3, 2), 2)})


def test_learned_positions_sum_their_gradient_in_float32():
    # in bfloat16, 256 + 1 is 256
    layer = PositionalEmbedding(4, 2)
    x = np.zeros((1000, 3, 2), jnp.bfloat16)
    params = filled(abstract(layer, x.shape, jnp.bfloat16)[0], jnp.bfloat16)
    f = jax.grad(lambda p: layer.apply(p, x).astype(jnp.float32).sum())
    dtable = jax.jit(f)(params)
    assert dtable["table"].dtype == jnp.bfloat16
    assert_equal(dtable["table"], [[1000] * 2] * 3 + [[0] * 2])


def test_sinusoids_are_accurate_far_out():
    # a product in float32 is off by 0.001 here
    n = 20_000
    layer = PositionalEmbedding(1, 8, "sinusoidal")
    y = jax.jit(layer.apply)({}, np.zeros((n, 8), np.float32))
    assert y.dtype == jnp.float32
    np.testing.assert_allclose(y, sinusoids(n, 8), 0, 1e-6)


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
    params = jax.eval_shape(lambda key: Embed(7, 4).init(key, (2, 3)), KEY)
    assert shapes(params) == {"table": (7, 4)}
    message = "embed needs ids of an integer dtype; got float64"
    fails(TypeError, message, Embed(7, 4).apply, {"table": np.ones((7, 4))}, normal((2,)))


def test_wrong_positional_embeddings():
    make, name = PositionalEmbedding, "PositionalEmbedding"
    fails(ValueError, f"{name} needs length of at least 1; got 0.", make, 0, 4)
    fails(TypeError, f"{name} needs an integer features; got '4'.", make, 3, "4")
    message = f"{name} needs a kind of learned or sinusoidal; got 'cosine'."
    fails(ValueError, message, make, 3, 4, "cosine")
    message = f"{name} needs even features if sinusoidal; got 5."
    fails(ValueError, message, make, 3, 5, "sinusoidal")
    layer, params = make(3, 4), {"table": np.ones((3, 4))}
    for shape, message in (
        (
            (2, 5, 4),
            "needs at most 3 positions, its length; got 5 in x of shape (2, 5, 4).",
        ),
        ((2, 3, 5), "needs x of shape (..., T, 4); got (2, 3, 5)."),
        ((4,), "needs x of shape (..., T, 4); got (4,)."),
    ):
        fails(ValueError, f"{name} {message}", layer.init, KEY, shape)
        fails(ValueError, f"{name} {message}", layer.apply, params, np.ones(shape))
    message = f"{name} needs x of a floating-point dtype; got int32"
    fails(TypeError, message, layer.apply, params, np.ones((3, 4), np.int32))


def test_embeddings_in_few_bits_are_rounded_once():
    y = jnp.asarray(np.random.default_rng(0).standard_normal((5, 10)), "bfloat16")
    want = (y.astype("float64") * 10**0.5).astype("bfloat16")
    np.testing.assert_array_equal(lengthened(y), want)
