"""Keys that are padding, by a mask of keys or by lengths, and dropout of weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import ops
from funcnn.layers import MultiHeadAttention, Stack, Transformer, TransformerBlock
from tests.support.layers import KEY, close, fails, filled

LENGTHS = np.array([3, 5])
REAL = np.arange(5) < LENGTHS[:, None]
X = jnp.asarray(np.random.default_rng(0).standard_normal((2, 5, 8)))


def params_of(layer, x):
    return filled(jax.eval_shape(layer.init, KEY, x))


@pytest.mark.parametrize("causal", [False, True])
def test_padding_is_as_if_it_were_not_there(causal):
    layer = MultiHeadAttention(2, causal=causal)
    params = params_of(layer, X)
    want = layer.apply(params, X[:1, :3])
    for options in (
        {"key_mask": REAL},
        {"key_lengths": LENGTHS},
        {"mask": REAL[:, None, None]},
        {"key_mask": REAL, "key_lengths": LENGTHS, "mask": np.ones((5, 5), bool)},
    ):
        close(layer.apply(params, X, **options)[:1, :3], want)


def test_whole_models_take_lengths():
    model = Transformer(9, 8, 2, 2, causal=False)
    ids = jnp.asarray(np.random.default_rng(0).integers(0, 9, (2, 5)))
    params = params_of(model, ids)
    want = jax.jit(model.apply)(params, ids[:1, :3])
    padded = jax.jit(lambda p, x, n: model.apply(p, x, key_lengths=n))
    close(padded(params, ids, jnp.asarray(LENGTHS))[:1, :3], want)
    stack = Stack(TransformerBlock(2, cross=True), 1)
    params = params_of(stack, (X, X))
    got = stack.apply(params, (X, X), memory_lengths=LENGTHS)
    close(got, stack.apply(params, (X, X), memory_mask=REAL[:, None, None]))


def test_the_ops_lengths_may_be_traced_and_0():
    q = jnp.ones((2, 4, 1, 3))
    y, grad = jax.jit(
        lambda q, n: jax.value_and_grad(
            lambda q: ops.attention(q, q, q, key_lengths=n).sum()
        )(q)
    )(q, jnp.array([0, 2]))
    assert y == 4 * 3
    assert not grad[0].any()


def test_wrong_padding():
    layer = MultiHeadAttention(2)
    params = params_of(layer, X)
    for options, kind, message in (
        (
            {"key_mask": REAL[:, :4]},
            ValueError,
            "key_mask of shape (B, S) = (2, 5); got (2, 4)",
        ),
        ({"key_mask": LENGTHS}, TypeError, "needs a key_mask of booleans; got int64."),
        (
            {"key_lengths": LENGTHS[:1]},
            ValueError,
            "needs key_lengths of shape (2,) for q of",
        ),
        (
            {"key_lengths": LENGTHS * 1.0},
            TypeError,
            "needs key_lengths of integers; got flo",
        ),
        (
            {"key_mask": REAL, "mask": np.ones((2, 5, 5), bool)},
            ValueError,
            "needs a mask of four axes, (B, heads, T, S), or two beside a key_mask; g",
        ),
    ):
        fails(kind, message, layer.apply, params, X, **options)


def test_weights_are_dropped_when_there_is_a_key():
    layer = MultiHeadAttention(2, attention_dropout=0.5)
    params = params_of(layer, X)
    plain, weights = layer.apply(params, X, return_weights=True)
    close(weights.sum(-1), np.ones((2, 2, 5)))
    dropped, kept = layer.apply(params, X, key=KEY, return_weights=True)
    assert 0.2 < (np.asarray(kept) == 0).mean() < 0.8
    close(np.where(kept == 0, 0, 2 * weights), kept)
    assert (np.asarray(dropped) != np.asarray(plain)).all()
    block = TransformerBlock(2, attention_dropout=0.5)
    params = params_of(block, X)
    one, other = (block.apply(params, X, key=jax.random.key(i)) for i in range(2))
    assert (np.asarray(one) != np.asarray(other)).all()
    close(block.apply(params, X), TransformerBlock(2).apply(params, X))
