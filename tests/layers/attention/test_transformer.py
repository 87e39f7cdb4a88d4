"""Attention, blocks and transformers, against code that says what they are."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import layers, losses, verify
from funcnn.layers import MultiHeadAttention, Stack, Transformer, TransformerBlock

KEY = jax.random.key(0)
X, MEMORY = (2, 5, 8), (2, 4, 6)
SAME = jax.ShapeDtypeStruct(X, jnp.float64)
BOTH = (SAME, jax.ShapeDtypeStruct(MEMORY, jnp.float64))
RNG = np.random.default_rng(2)
MASK = RNG.random((2, 1, 5, 5)) < 0.6
MASK[0, 0, 1] = False  # a query that sees nothing
BIAS = RNG.standard_normal((4, 5, 5))
TOKENS = RNG.integers(0, 11, (2, 7))


def drawn(layer, shape, seed=3, dtype=jnp.float64):
    """Params with nothing of their beginnings left, and inputs."""
    rng = np.random.default_rng(seed)
    params = jax.eval_shape(layer.init, KEY, shape)
    draw = lambda a: jnp.asarray(0.5 * rng.standard_normal(a.shape), dtype)  # noqa: E731
    return jax.tree.map(draw, params), jax.tree.map(draw, shape)


def close(got, want, tolerance=1e-12):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    jax.tree.map(lambda g, w: np.testing.assert_allclose(g, w, 0, tolerance), got, want)


def fails(kind, message, f, *args, **kwargs):
    with pytest.raises(kind, match=re.escape(message)):
        f(*args, **kwargs)


def rotated(x, base):
    """`(T, D)`, each pair of features as a complex number."""
    half = x.shape[1] // 2
    angles = np.arange(len(x))[:, None] * base ** (-np.arange(half) / half)
    z = (x[:, :half] + 1j * x[:, half:]) * np.exp(1j * angles)
    return np.concatenate([z.real, z.imag], 1)


def attend(p, x, memory, heads, groups, causal, before, after, softcap, base, mask, bias):
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


# Options of the layer, arguments of `apply`, and what of the textbook's differs.
WIDE = 10**6
PLAIN = {
    "heads": 4,
    "groups": 4,
    "causal": False,
    "before": WIDE,
    "after": WIDE,
    "softcap": None,
    "base": None,
    "mask": None,
    "bias": None,
}
ATTENTIONS = {
    "self": ({}, {}, {}),
    "causal": ({"causal": True}, {}, {"causal": True}),
    "no bias": ({"use_bias": False}, {}, {}),
    "grouped": ({"key_heads": 2, "causal": True}, {}, {"groups": 2, "causal": True}),
    "one head of keys": ({"key_heads": 1}, {}, {"groups": 1}),
    "widths": ({"features": 3, "head_features": 6}, {}, {}),
    "rope": ({"rope": True, "causal": True}, {}, {"base": 1e4, "causal": True}),
    "rope, base": ({"rope": 50, "key_heads": 2}, {}, {"base": 50.0, "groups": 2}),
    "window": ({"window": (1, 2)}, {}, {"before": 1, "after": 2}),
    "sliding": ({"window": 2, "causal": True}, {}, {"before": 2, "causal": True}),
    "softcap": ({"softcap": 0.5}, {}, {"softcap": 0.5}),
    "mask": ({}, {"mask": MASK}, {"mask": MASK}),
    "bias": ({"causal": True}, {"bias": BIAS}, {"bias": BIAS, "causal": True}),
    "cross": ({}, {}, {}),
    "cross, mask": ({"key_heads": 2}, {"mask": MASK[..., :4]}, {"groups": 2}),
}


@pytest.mark.parametrize("name", ATTENTIONS)
def test_attention_is_the_textbook_one(name):
    options, given, want = ATTENTIONS[name]
    cross = name.startswith("cross")
    layer = MultiHeadAttention(4, **options)
    params, x = drawn(layer, BOTH if cross else SAME)
    q, memory = x if cross else (x, x)
    want = PLAIN | want | {k: v for k, v in given.items() if k in PLAIN}
    y, weights = attend(params, np.asarray(q), np.asarray(memory), **want)
    apply = jax.jit(lambda p, x: layer.apply(p, x, return_weights=True, **given))
    close(apply(params, x), (jnp.asarray(y), jnp.asarray(weights)))
    close(layer.apply(params, x, **given), jnp.asarray(y))
    sums = weights.sum(-1)
    hidden = 0 if "mask" not in given else sums == 0
    np.testing.assert_allclose(sums, np.where(hidden, 0, 1), 0, 1e-12)


def test_attentions_params_and_where_they_start():
    layer = MultiHeadAttention(4, key_heads=2, features=3, head_features=6)
    params = layer.init(KEY, BOTH)
    sizes = {"query": (8, 24), "key": (6, 12), "value": (6, 12), "output": (24, 3)}
    assert {name: p["weight"].shape for name, p in params.items()} == sizes
    assert all((p["bias"] == 0).all() for p in params.values())
    assert len({float(p["weight"][0, 0]) for p in params.values()}) == 4
    wide = MultiHeadAttention(2).init(KEY, (1, 1, 400))["query"]["weight"]
    assert wide.std() == pytest.approx((2 / 800) ** 0.5, rel=0.02)


def test_attention_drops_its_output_when_there_is_a_key():
    layer = MultiHeadAttention(2, dropout=0.5)
    params, x = drawn(layer, SAME)
    y = layer.apply(params, x)
    dropped = layer.apply(params, x, key=KEY)
    assert 0.2 < (dropped == 0).mean() < 0.8
    close(jnp.where(dropped == 0, 0, 2 * y), dropped)


# Caches


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


@pytest.mark.parametrize("name", ["causal", "grouped", "rope", "sliding"])
def test_attention_with_a_cache(name):
    layer = MultiHeadAttention(4, **ATTENTIONS[name][0])
    params, x = drawn(layer, SAME)
    got, cache = jax.jit(lambda p, x: decoded(layer, p, x, 6, (2, 4)))(params, x)
    close(got, layer.apply(params, x))
    assert cache.position == 5
    assert cache.keys.shape == (2, 6, ATTENTIONS[name][0].get("key_heads", 4), 2)


MODELS = {
    "rope": {"window": 3, "key_heads": 2, "activation": "swiglu", "tied": False},
    "learned": {"positions": "learned", "length": 7, "norm": "post", "scan": False},
    "sinusoidal": {"positions": "sinusoidal", "norm_layer": layers.RMSNorm()},
    "none": {"positions": None, "softcap": 2.0, "remat": True},
}


def model(name, **more):
    layer = Transformer(11, 8, 4, 2, **MODELS[name], **more)
    params, _ = drawn(layer, jax.ShapeDtypeStruct((2, 7), jnp.int32))
    return layer, params


@pytest.mark.parametrize("name", MODELS)
def test_logits_with_a_cache_are_those_without(name):
    layer, params = model(name)
    got, _ = jax.jit(lambda p, x: decoded(layer, p, x, 7, (3, 5)))(params, TOKENS)
    close(got, layer.apply(params, TOKENS), 1e-11)


def test_mask_and_bias_with_a_cache_are_those_of_its_length():
    layer = MultiHeadAttention(4, causal=True)
    params, x = drawn(layer, SAME)
    real = MASK[:, :, 3:4]  # the same for all queries
    want = layer.apply(params, x, mask=real)
    _, cache = layer.apply(params, x[:, :4], cache=5, mask=real[..., :4])
    got, _, _ = layer.apply(params, x[:, 4:], cache=cache, mask=real, return_weights=True)
    close(got, want[:, 4:])


def test_beyond_a_caches_length_is_nan():
    layer = MultiHeadAttention(4, causal=True)
    params, x = drawn(layer, SAME)
    _, cache = layer.apply(params, x, cache=6)
    y, cache = layer.apply(params, x[:, :1], cache=cache)
    assert jnp.isfinite(y).all()
    y, cache = layer.apply(params, x[:, :1], cache=cache)
    assert jnp.isnan(y).all()


def test_an_encoder_and_a_decoder():
    encoder = Stack(TransformerBlock(2), 2)
    decoder = Stack(TransformerBlock(2, causal=True, cross=True, rope=True), 2)
    source = jax.ShapeDtypeStruct((2, 4, 8), jnp.float64)
    coder, memory = drawn(encoder, source)
    params, (x, _) = drawn(decoder, (SAME, source))
    memory = encoder.apply(coder, memory)
    real = np.array([[1, 1, 1, 0], [1, 1, 1, 1]], bool)[:, None, None]
    want = decoder.apply(params, (x, memory), memory_mask=real)
    blank = memory.at[0, 3].set(jnp.nan)
    assert not jnp.isnan(want).any()
    y, cache = decoder.apply(params, (x[:, :3], memory), memory_mask=real, cache=5)
    close(y, want[:, :3])
    for t in (3, 4):  # what the memory gave is in the cache
        inputs = x[:, t : t + 1], blank
        y, cache = decoder.apply(params, inputs, memory_mask=real, cache=cache)
        close(y, want[:, t : t + 1])
    changed = decoder.apply(params, (x, memory.at[:, 3].set(9.0)), memory_mask=real)
    assert jnp.abs(changed - want)[0].max() == 0
    assert jnp.abs(changed - want)[1].max() > 1e-3


# Stacks


def test_a_stack_is_its_layers_in_a_row():
    layer = layers.Residual(layers.RMSNorm(), layers.Dense(8), layers.Dropout(0.3))
    params, x = drawn(stack := Stack(layer, 3), SAME)

    def row(p, x, key=None):
        for i in range(3):
            k = None if key is None else jax.random.fold_in(key, i)
            x = layer.apply(jax.tree.map(lambda a, i=i: a[i], p), x, key=k)
        return x

    close(stack.init(KEY, SAME), jax.tree.map(
        lambda *a: jnp.stack(a),
        *(layer.init(jax.random.fold_in(KEY, i), SAME) for i in range(3)),
    ))  # fmt: skip
    close(stack.apply(params, x), row(params, x))

    def value_and_grad(f):
        g = jax.value_and_grad(lambda p, x: (f(p, x, key=KEY) ** 2).sum(), (0, 1))
        return jax.jit(g)(params, x)

    want = value_and_grad(row)
    for options in ({}, {"remat": True}, {"scan": False, "remat": True}):
        close(value_and_grad(Stack(layer, 3, **options).apply), want, 1e-10)


def test_a_stack_widens_what_its_layers_would():
    stack = Stack(layers.Residual(layers.Dense(8)), 2)
    params = stack.init(KEY, (2, 8))
    assert stack.apply(params, jnp.ones((2, 8), jnp.bfloat16)).dtype == jnp.float32
    params = jax.tree.map(lambda a: a.astype(jnp.bfloat16), params)
    assert stack.apply(params, jnp.ones((2, 8), jnp.bfloat16)).dtype == jnp.bfloat16


def test_a_stack_of_any_depth_is_one_program():
    def size(depth):
        layer = Transformer(11, 8, 4, depth)
        params = jax.eval_shape(layer.init, KEY, TOKENS)
        f = jax.grad(lambda p: layer.apply(p, TOKENS).sum())
        return len(jax.jit(f).lower(params).as_text())

    assert size(12) < 1.01 * size(2)


def test_remat_keeps_less():
    def held(**options):
        layer = Transformer(11, 8, 4, 6, **options)
        params = jax.eval_shape(layer.init, KEY, TOKENS)
        pull = jax.eval_shape(
            lambda p: jax.vjp(lambda q: layer.apply(q, TOKENS), p)[1], params
        )
        return sum(a.size for a in jax.tree.leaves(pull))

    assert held(remat=True) < 0.5 * held()


# Blocks and models


def normalised(p, x):
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / jnp.sqrt(var + 1e-6) * p["scale"] + p["offset"]


ACTIVATIONS = {
    "gelu": lambda p, h: jax.nn.gelu(h),
    "relu": lambda p, h: jax.nn.relu(h),
    "silu": lambda p, h: jax.nn.silu(h),
    "swiglu": lambda p, h: jax.nn.silu(h[..., :12]) * h[..., 12:],
    "geglu": lambda p, h: jax.nn.gelu(h[..., :12]) * h[..., 12:],
    "exact": lambda p, h: jax.nn.gelu(h, approximate=False),
}


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_block_is_the_textbook_one(name, norm):
    activation = layers.Gelu(approximate=False) if name == "exact" else name
    layer = TransformerBlock(4, hidden=12, norm=norm, activation=activation, causal=True)
    params, x = drawn(layer, SAME)
    attention = MultiHeadAttention(4, causal=True)
    attend = lambda p, x: attention.apply(p, x, mask=MASK, bias=BIAS)  # noqa: E731

    def perceptron(p, x):
        h = x @ p["hidden"]["weight"] + p["hidden"]["bias"]
        return ACTIVATIONS[name](p, h) @ p["output"]["weight"] + p["output"]["bias"]

    def textbook(p, x):
        for part, f in (("attention", attend), ("mlp", perceptron)):
            scale = p[f"{part}_norm"]
            if norm == "pre":
                x = x + f(p[part], normalised(scale, x))
            else:
                x = normalised(scale, x + f(p[part], x))
        return x

    got = layer.apply(params, x, mask=MASK, bias=BIAS, key=KEY)
    close(got, textbook(params, x))


def test_a_block_drops_what_it_adds_when_there_is_a_key():
    layer = TransformerBlock(2, dropout=1.0)
    params, x = drawn(layer, SAME)
    close(layer.apply(params, x, key=KEY), x, 0)
    assert jnp.abs(layer.apply(params, x) - x).max() > 0.1
    layer = Transformer(11, 8, 2, 2, dropout=0.5)
    params, _ = drawn(layer, TOKENS)
    once, again = (layer.apply(params, TOKENS, key=jax.random.key(i)) for i in range(2))
    assert jnp.abs(once - again).max() > 0.1
    close(layer.apply(params, TOKENS), layer.apply(params, TOKENS, key=None), 0)


@pytest.mark.parametrize("name", MODELS)
def test_a_transformer_is_its_parts(name):
    layer, p = model(name)
    options = {"heads": 4, "depth": 2, "causal": True} | MODELS[name]
    positions, tied = options.pop("positions", "rope"), options.pop("tied", True)
    depth = options.pop("depth")
    for elsewhere in ("length", "remat", "scan"):
        options.pop(elsewhere, None)
    block = TransformerBlock(rope=positions == "rope", **options)
    x = p["tokens"]["table"][TOKENS]
    if positions == "learned":
        x = x + p["positions"]["table"][: TOKENS.shape[1]]
    if positions == "sinusoidal":
        angles = np.arange(7)[:, None] / 1e4 ** (np.arange(0, 8, 2) / 8)
        x = x * 8**0.5 + np.stack([np.sin(angles), np.cos(angles)], -1).reshape(7, 8)
    for i in range(depth):
        x = block.apply(jax.tree.map(lambda a, i=i: a[i], p["blocks"]), x)
    if name == "sinusoidal":
        x = layers.RMSNorm().apply(p["norm"], x)
    elif name != "learned":
        x = normalised(p["norm"], x)
    close(layer.apply(p, TOKENS, head=False), x)
    head = p["tokens"]["table"].T if tied else p["head"]["weight"]
    close(layers.head_weight(p), head, 0)
    close(layer.apply(p, TOKENS), x @ head)


def test_params_of_a_transformer():
    params = jax.eval_shape(Transformer(11, 8, 2, 3, tied=False).init, KEY, TOKENS)
    assert list(params) == ["blocks", "head", "norm", "tokens"]
    assert {a.shape[0] for a in jax.tree.leaves(params["blocks"])} == {3}
    assert set(params["blocks"]) == {"attention", "attention_norm", "mlp", "mlp_norm"}
    post = Transformer(11, 8, 2, 3, norm="post", positions="learned", length=9)
    params = jax.eval_shape(post.init, KEY, TOKENS)
    assert list(params) == ["blocks", "positions", "tokens"]


def test_a_whole_models_gradient():
    layer, params = model("rope")

    def loss(params):
        x = layer.apply(params, TOKENS[:, :-1], head=False)
        return losses.linear_softmax_cross_entropy(
            x, layers.head_weight(params), TOKENS[:, 1:]
        )

    verify.compare(loss, params, costs=False).raise_if_failed()
    logits = layer.apply(params, TOKENS[:, :-1])
    close(loss(params), losses.softmax_cross_entropy(logits, TOKENS[:, 1:]))


def test_a_transformer_under_transformations():
    layer, params = model("rope")
    low = jax.tree.map(lambda a: a.astype(jnp.bfloat16), params)
    y = layer.apply(params, TOKENS)
    traces = []  # a private count of JAX's came out as 0 after thousands of tests

    @jax.jit
    def apply(params, tokens):
        traces.append(tokens)
        return layer.apply(params, tokens)

    close(apply(params, TOKENS), y)
    apply(params, TOKENS + 1 - 1)
    assert len(traces) == 1
    rough = layer.apply(low, TOKENS)
    assert rough.dtype == jnp.bfloat16
    assert jnp.abs(rough.astype(y.dtype) - y).max() < 0.1 * jnp.abs(y).max()
    y, cache = layer.apply(low, TOKENS, cache=8)
    assert [str(a.dtype) for a in cache] == ["bfloat16", "bfloat16", "int32"]
    both = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), params)
    mapped = jax.vmap(layer.apply, (0, None))(both, TOKENS)
    close(mapped[0], layer.apply(params, TOKENS))


def test_only_what_comes_before_counts():
    layer, params = model("none")
    y = layer.apply(params, TOKENS)
    other = layer.apply(params, jnp.asarray(TOKENS).at[:, 4].add(-1) % 11)
    close(other[:, :4], y[:, :4], 0)
    assert (jnp.abs(other - y)[:, 4:].max(-1) > 1e-6).all()
    both_ways = Transformer(11, 8, 4, 2, causal=False)
    params, _ = drawn(both_ways, TOKENS)
    change = both_ways.apply(params, TOKENS) - both_ways.apply(
        params, jnp.asarray(TOKENS).at[:, 4].add(-1) % 11
    )
    assert (jnp.abs(change).max(-1) > 1e-6).all()


# Errors


def test_wrong_attention():
    name = "MultiHeadAttention"
    for args, kwargs, kind, message in (
        ((0,), {}, ValueError, "needs heads of at least 1; got 0."),
        (("2",), {}, TypeError, "needs an integer heads; got '2'."),
        ((4,), {"key_heads": 3}, ValueError, "needs key_heads that divide the 4 heads; g"),
        ((4, 1), {}, TypeError, "needs a bool for causal; got 1."),
        ((4,), {"features": 0}, ValueError, "needs features of at least 1; got 0."),
        ((4,), {"rope": 0.5}, ValueError, "needs rope of at least 1.0; got 0.5."),
        ((4,), {"softcap": 0}, ValueError, "needs a finite softcap above 0; got 0"),
        ((4,), {"dropout": 2}, ValueError, "needs dropout in [0.0, 1.0]; got 2."),
    ):
        fails(kind, f"{name} {message}", MultiHeadAttention, *args, **kwargs)
    layer = MultiHeadAttention(4)
    params, x = drawn(layer, SAME)
    for shape, message in (
        ((2, 6), "needs x of shape (B, T, d) with d > 0; got (2, 6)."),
        ((2, 5, 6), "needs heads that divide the 6 features of x, or head_features; got 4"),
        (((2, 5, 8), (3, 4, 6)), "needs memory of shape (2, S, m) with m > 0 for x of sha"),
    ):
        fails(ValueError, f"{name} {message}", layer.init, KEY, shape)
    fails(
        TypeError, f"{name} needs x, or (x, memory); got 3", layer.apply, params, (x,) * 3
    )
    fails(ValueError, f"{name} needs params in", layer.apply, {"query": {}}, x)
    message = f"{name} needs causal=True for a cache; got causal=False."
    fails(ValueError, message, layer.apply, params, x, cache=5)
    causal = MultiHeadAttention(4, causal=True)
    message = f"{name} needs causal=False and window=None for a cache of a memory; got True"
    fails(ValueError, message, causal.apply, params, (x, x), cache=5)
    message = f"{name} needs a cache of length 5 or more for x of shape (2, 5, 8); got 4."
    fails(ValueError, message, causal.apply, params, x, cache=4)
    message = f"{name} needs a cache of length at least 1; got 0."
    fails(ValueError, message, causal.apply, params, x, cache=0)
    message = f"{name} needs a cache that it returned, or an integer"
    fails(TypeError, message, causal.apply, params, x, cache=(x, x))
    fails(TypeError, message, causal.apply, params, x, cache=True)


def test_wrong_stacks():
    fails(TypeError, "Stack needs a layer; got ", Stack, layers.Relu, 2)
    fails(ValueError, "Stack needs depth of at least 1; got 0.", Stack, layers.Relu(), 0)
    fails(
        TypeError, "Stack needs a bool for remat; got 1.", Stack, layers.Relu(), 2, remat=1
    )
    stack = Stack(layers.Dense(3), 2)
    message = (
        "Stack needs a layer that keeps the shape of x; got (2, 3) for x of shape (2, 4"
    )
    fails(ValueError, message, stack.init, KEY, (2, 4))
    params = stack.init(KEY, (2, 3))
    message = (
        "Stack needs params with a first axis of length 3; got shape (2, 3) at ['bias']."
    )
    fails(ValueError, message, Stack(layers.Dense(3), 3).apply, params, jnp.ones((2, 3)))


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


def test_wrong_transformers():
    for kwargs, kind, message in (
        (
            {"positions": "rotary"},
            ValueError,
            "needs positions of rope, learned, sinusoidal",
        ),
        (
            {"positions": "learned"},
            ValueError,
            "needs a length if positions are learned; got",
        ),
        (
            {"cross": True},
            ValueError,
            "needs cross=False: a Stack of blocks takes a memory.",
        ),
        ({"tied": None}, TypeError, "needs a bool for tied; got None."),
    ):
        fails(kind, f"Transformer {message}", Transformer, 11, 8, 2, 2, **kwargs)
    fails(TypeError, "unexpected keyword argument 'wide'", Transformer, 11, 8, 2, 2, wide=1)
    layer, params = model("learned")
    message = "Transformer needs x of an integer dtype; got float64 of shape (2, 5, 8)."
    fails(TypeError, message, layer.init, KEY, SAME)
    fails(ValueError, "Transformer needs x of shape (B, T)", layer.apply, params, TOKENS[0])
    message = "Transformer needs a cache of length 1 to 7; got 8."
    fails(ValueError, message, layer.apply, params, TOKENS, cache=8)
    message = "needs at most 7 positions, its length; got 8"
    fails(ValueError, message, layer.apply, params, np.ones((1, 8), int))
