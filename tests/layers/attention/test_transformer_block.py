"""Blocks, against code that says what they are; encoders and decoders of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import layers
from funcnn.layers import MultiHeadAttention, Stack, Transformer, TransformerBlock
from tests.support.attention import BIAS, MASK, SAME, TOKENS, normalised, params_and_input
from tests.support.layers import KEY, abstract, close, fails

ACTIVATIONS = {
    "gelu": lambda p, h: jax.nn.gelu(h),
    "relu": lambda p, h: jax.nn.relu(h),
    "silu": lambda p, h: jax.nn.silu(h),
    "swiglu": lambda p, h: jax.nn.silu(h[..., :12]) * h[..., 12:],
    "geglu": lambda p, h: jax.nn.gelu(h[..., :12]) * h[..., 12:],
    "exact": lambda p, h: jax.nn.gelu(h, approximate=False),
}


ATTENTION = MultiHeadAttention(4, causal=True)
NORMS = ("pre", "post")


def block(name, norm):
    activation = layers.Gelu(approximate=False) if name == "exact" else name
    return TransformerBlock(4, hidden=12, norm=norm, activation=activation, causal=True)


def textbook(name, norm, p, x):
    """A block of this activation and norm."""

    def attend(p, x):
        return ATTENTION.apply(p, x, mask=MASK, bias=BIAS)

    def perceptron(p, x):
        h = x @ p["hidden"]["weight"] + p["hidden"]["bias"]
        return ACTIVATIONS[name](p, h) @ p["output"]["weight"] + p["output"]["bias"]

    for part, f in (("attention", attend), ("mlp", perceptron)):
        scale = p[f"{part}_norm"]
        if norm == "pre":
            x = x + f(p[part], normalised(scale, x))
        else:
            x = normalised(scale, x + f(p[part], x))
    return x


def both(pairs):
    """Blocks and what they should be, in one program."""
    arrays = {pair: params_and_input(block(*pair), SAME) for pair in pairs}

    @jax.jit
    def compute(arrays):
        return {
            pair: (
                block(*pair).apply(*arrays[pair], mask=MASK, bias=BIAS, key=KEY),
                textbook(*pair, *arrays[pair]),
            )
            for pair in pairs
        }

    return compute(arrays)


OFTEN = [*((name, "pre") for name in ACTIVATIONS), ("gelu", "post"), ("swiglu", "post")]


@pytest.fixture(scope="module")
def computed():
    """Those of the quick tests, at once."""
    return both(OFTEN)


@pytest.mark.parametrize("name, norm", OFTEN)
def test_a_block_is_the_textbook_one(computed, name, norm):
    close(*computed[name, norm])


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", sorted(ACTIVATIONS.keys() - {"gelu", "swiglu"}))
def test_a_block_with_its_norms_last_is_the_textbook_one(name):
    close(*both([(name, "post")])[name, "post"])


def test_a_block_drops_what_it_adds_when_there_is_a_key():
    layer = TransformerBlock(2, dropout=1.0)
    params, x = params_and_input(layer, SAME)
    both = jax.jit(lambda p, x: (layer.apply(p, x, key=KEY), layer.apply(p, x)))
    dropped, y = both(params, x)
    close(dropped, x, 0)
    assert np.abs(np.asarray(y) - x).max() > 0.1


def test_a_transformer_drops_in_three_places_if_there_is_a_key():
    layer = Transformer(11, 8, 2, 2, dropout=0.5)
    params, _ = abstract(layer, jax.ShapeDtypeStruct(TOKENS.shape, jnp.int32))
    apply = lambda p, key=None: layer.apply(p, TOKENS, key=key)  # noqa: E731
    with_key, without = jax.make_jaxpr(apply)(params, KEY), jax.make_jaxpr(apply)(params)
    assert str(with_key).count("name=dropout\n") == 3
    assert "dropout" not in str(without)
    assert "random" not in str(without)


@pytest.mark.exhaustive
def test_a_transformer_drops_by_its_key():
    layer = Transformer(11, 8, 2, 1, dropout=0.5)
    params, _ = params_and_input(layer, jax.ShapeDtypeStruct(TOKENS.shape, jnp.int32))

    @jax.jit
    def compute(params, keys):
        return jax.vmap(lambda key: layer.apply(params, TOKENS, key=key))(keys)

    once, again = np.asarray(compute(params, jax.random.split(KEY)))
    assert np.abs(once - again).max() > 0.1


def test_an_encoder_and_a_decoder():
    encoder = Stack(TransformerBlock(2), 2)
    decoder = Stack(TransformerBlock(2, causal=True, cross=True, rope=True), 2)
    source = jax.ShapeDtypeStruct((2, 4, 8), jnp.float64)
    coder, memory = params_and_input(encoder, source)
    params, (x, _) = params_and_input(decoder, (SAME, source))
    real = np.array([[1, 1, 1, 0], [1, 1, 1, 1]], bool)[:, None, None]

    @jax.jit
    def compute(coder, params, x, memory):
        memory = encoder.apply(coder, memory)
        other = memory.at[:, 3].set(9.0)
        twice = lambda a, b: jnp.concatenate([a, b])  # noqa: E731
        want, changed = jnp.split(
            decoder.apply(
                params, (twice(x, x), twice(memory, other)), memory_mask=twice(real, real)
            ),
            2,
        )
        y, cache = decoder.apply(params, (x[:, :3], memory), memory_mask=real, cache=5)

        def step(cache, x):  # what the memory gave is in the cache
            inputs = x[:, None], memory.at[0, 3].set(jnp.nan)
            z, cache = decoder.apply(params, inputs, memory_mask=real, cache=cache)
            return cache, z[:, 0]

        _, last = jax.lax.scan(step, cache, jnp.moveaxis(x[:, 3:], 1, 0))
        return want, jnp.concatenate([y, jnp.moveaxis(last, 0, 1)], 1), changed

    want, got, changed = map(np.asarray, compute(coder, params, x, memory))
    assert not np.isnan(want).any()
    close(got, want)
    assert np.abs(changed - want)[0].max() == 0
    assert np.abs(changed - want)[1].max() > 1e-3


def test_wrong_blocks():
    name = "TransformerBlock"
    for kwargs, kind, message in (
        ({"norm": "both"}, ValueError, "needs a norm of pre or post; got 'both'."),
        ({"norm_layer": layers.LayerNorm}, TypeError, "needs a layer for norm_layer; got "),
        (
            {"activation": "glu"},
            ValueError,
            "needs an activation that is a layer or one of ",
        ),
        ({"hidden": 0}, ValueError, "needs hidden of at least 1; got 0."),
        ({"dropout": -1}, ValueError, "needs dropout in [0.0, 1.0]; got -1."),
    ):
        fails(kind, f"{name} {message}", TransformerBlock, 2, **kwargs)
    for cross, shape, message in (
        (True, (2, 3, 4), "with cross=True needs (x, memory); got one"),
        (False, ((2, 3, 4), (2, 3, 4)), "with cross=False needs one input; got several"),
    ):
        layer = TransformerBlock(2, cross=cross)
        fails(TypeError, f"{name} {message}", layer.init, KEY, shape)
