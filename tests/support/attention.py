"""What tests of attention share: inputs, and code that says what attention is."""

import jax
import jax.numpy as jnp
import numpy as np

from funcnn import layers
from funcnn.layers import Transformer
from tests.support.layers import abstract, filled

X, MEMORY = (2, 5, 8), (2, 4, 6)
SAME = jax.ShapeDtypeStruct(X, jnp.float64)
BOTH = (SAME, jax.ShapeDtypeStruct(MEMORY, jnp.float64))
RNG = np.random.default_rng(2)
MASK = RNG.random((2, 1, 5, 5)) < 0.6
MASK[0, 0, 1] = False  # a query that sees nothing
BIAS = RNG.standard_normal((4, 5, 5))
TOKENS = RNG.integers(0, 11, (2, 7))


def params_and_input(layer, shape):
    """Params with nothing of their beginnings left, and inputs."""
    return filled((abstract(layer, shape)[0], shape), scale=0.5)


def rotated(x, base):
    """`(T, D)`, each pair of features as a complex number."""
    half = x.shape[1] // 2
    angles = np.arange(len(x))[:, None] * base ** (-np.arange(half) / half)
    z = (x[:, :half] + 1j * x[:, half:]) * np.exp(1j * angles)
    return np.concatenate([z.real, z.imag], 1)


def textbook(p, x, memory, heads, groups, causal, before, after, softcap, base, mask, bias):
    """Textbook attention in NumPy, a head and an example at a time, and its weights."""
    p = jax.tree.map(np.asarray, p)
    affine = lambda n, x: x @ p[n]["weight"] + p[n].get("bias", 0)  # noqa: E731
    b, t, s = x.shape[0], x.shape[1], memory.shape[1]
    width = p["query"]["weight"].shape[1] // heads
    weights, y = np.zeros((b, heads, t, s)), np.zeros((b, t, heads, width))
    keep = np.broadcast_to(True if mask is None else mask, weights.shape)
    extra = np.broadcast_to(0.0 if bias is None else bias, weights.shape)
    i, j = np.arange(t)[:, None], np.arange(s)
    near = (j >= i - before) & (j <= i + after) & (j <= i if causal else True)
    for n, h in np.ndindex(b, heads):
        mine = np.s_[h * width : (h + 1) * width]
        shared = h // (heads // groups)
        theirs = np.s_[shared * width : (shared + 1) * width]
        q = affine("query", x[n])[:, mine]
        k, v = (affine(name, memory[n])[:, theirs] for name in ("key", "value"))
        if base:
            q, k = rotated(q, base), rotated(k, base)
        scores = q @ k.T / np.sqrt(width)
        scores = softcap * np.tanh(scores / softcap) if softcap else scores
        e = np.exp(scores + extra[n, h]) * (near & keep[n, h])
        weights[n, h] = e / np.maximum(e.sum(1, keepdims=True), 1e-300)
        y[n, :, h] = weights[n, h] @ v
    return affine("output", y.reshape(b, t, -1)), weights


def decoded(layer, params, x, length, cuts, **options):
    """What is computed a piece at a time: some at once, then one by one in a loop."""
    pieces, cache = [], length
    for first, end in zip([0, *cuts], cuts, strict=False):
        y, cache = layer.apply(params, x[:, first:end], cache=cache, **options)
        pieces.append(y)

    def step(cache, column):
        y, cache = layer.apply(params, column[:, None], cache=cache, **options)
        return cache, y[:, 0]

    cache, last = jax.lax.scan(step, cache, jnp.moveaxis(x[:, cuts[-1] :], 1, 0))
    return jnp.concatenate([*pieces, jnp.moveaxis(last, 0, 1)], 1), cache


def normalised(p, x):
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / jnp.sqrt(var + 1e-6) * p["scale"] + p["offset"]


MODELS = {
    "rope": {"window": 3, "key_heads": 2, "activation": "swiglu", "tied": False},
    "learned": {"positions": "learned", "length": 7, "norm": "post", "scan": False},
    "sinusoidal": {"positions": "sinusoidal", "norm_layer": layers.RMSNorm()},
    "none": {"positions": None, "softcap": 2.0, "remat": True},
}


def model(name, **more):
    """A small transformer of this kind, and params."""
    layer = Transformer(11, 8, 4, 2, **MODELS[name], **more)
    ids = jax.ShapeDtypeStruct((2, 7), jnp.int32)
    return layer, filled(abstract(layer, ids)[0], scale=0.5)
