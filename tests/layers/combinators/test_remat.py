"""Layers computed again: the same numbers, and less kept."""

import jax
import jax.numpy as jnp
import numpy as np

from funcnn.layers import (
    Dense,
    Dropout,
    Gelu,
    LayerNorm,
    MultiHeadAttention,
    Remat,
    Residual,
    Stack,
)
from tests.support.layers import KEY, abstract, drawn, normal

BLOCK = Residual(LayerNorm(), Dense(64), Gelu(), Dropout(0.5), Dense(16))


def value_and_grad(layer, params, x, **options):
    def f(params, x):
        return (layer.apply(params, x, **options) ** 2).mean()

    return jax.value_and_grad(f, (0, 1))(params, x)


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


def test_remat_gives_the_same():
    x = normal((4, 16))
    params = drawn(BLOCK, (4, 16))
    assert abstract(Remat(BLOCK), (4, 16))[0] == abstract(BLOCK, (4, 16))[0]

    @jax.jit
    def compute(params, x):
        return [
            [value_and_grad(layer, params, x, **options) for options in ({}, {"key": KEY})]
            for layer in (Remat(BLOCK), BLOCK)
        ]

    got, want = compute(params, x)
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
    params = drawn(layer, (2, 3, 4))
    mask = np.tril(np.ones((3, 3), bool))

    @jax.jit
    def compute(params, x):
        y, cache = layer.apply(params, x[:, :2], cache=3)
        last, _ = layer.apply(params, x[:, 2:], cache=cache)
        got = value_and_grad(Remat(MultiHeadAttention(2)), params, x, mask=mask)
        want = value_and_grad(MultiHeadAttention(2, causal=True), params, x)
        return (jnp.concatenate([y, last], 1), got), (layer.apply(params, x), want)

    got, want = compute(params, x)
    jax.tree.map(lambda g, w: np.testing.assert_allclose(g, w, 1e-12), got, want)
