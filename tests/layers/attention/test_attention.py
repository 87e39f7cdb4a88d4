"""Attention with several heads, against NumPy, and a piece at a time with a cache."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import ops
from funcnn.layers import MultiHeadAttention, Transformer
from tests.support.attention import (
    BIAS,
    BOTH,
    MASK,
    SAME,
    decoded,
    params_and_input,
    textbook,
)
from tests.support.layers import KEY, close, fails

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


CACHED = ("causal", "grouped", "rope", "sliding")


def setting(name):
    """A layer, its params, its input and what `apply` is given besides."""
    options, given, _ = ATTENTIONS[name]
    layer = MultiHeadAttention(4, **options)
    shape = BOTH if name.startswith("cross") else SAME
    return layer, *params_and_input(layer, shape), given


@pytest.fixture(scope="module")
def computed():
    """Outputs with weights and without, and of a piece at a time: one program for all."""
    settings = {name: setting(name) for name in ATTENTIONS}

    @jax.jit
    def compute(arrays):
        found = {}
        for name, (layer, _, _, given) in settings.items():
            params, x = arrays[name]
            found[name] = layer.apply(params, x, return_weights=True, **given)
            assert len(found[name]) == 2
            found[name] += (layer.apply(params, x, **given),)
            if name in CACHED:
                found[f"{name}, cached"] = decoded(layer, params, x, 6, (2, 4))
        return found

    return compute({name: (params, x) for name, (_, params, x, _) in settings.items()})


@pytest.mark.parametrize("name", ATTENTIONS)
def test_attention_is_the_textbook_one(computed, name):
    _, params, x, given = setting(name)
    q, memory = x if name.startswith("cross") else (x, x)
    want = PLAIN | ATTENTIONS[name][2] | {k: v for k, v in given.items() if k in PLAIN}
    y, weights = textbook(params, np.asarray(q), np.asarray(memory), **want)
    close(computed[name], (y, weights, y))
    sums = weights.sum(-1)
    hidden = 0 if "mask" not in given else sums == 0
    np.testing.assert_allclose(sums, np.where(hidden, 0, 1), 0, 1e-12)


@pytest.mark.parametrize("name", CACHED)
def test_attention_with_a_cache(computed, name):
    got, cache = computed[f"{name}, cached"]
    close(got, computed[name][0])
    assert cache.position == 5
    assert cache.keys.shape == (2, 6, ATTENTIONS[name][0].get("key_heads", 4), 2)


@pytest.mark.exhaustive
def test_attention_without_jit(computed):
    layer, params, x, _ = setting("causal")
    close(layer.apply(params, x), computed["causal"][0])


def test_attentions_params_and_where_they_start():
    seen = []

    def recorded(key, shape, dtype):
        seen.append((jax.random.key_data(key).tolist(), shape))
        return np.ones(shape, dtype)

    layer = MultiHeadAttention(
        4, key_heads=2, features=3, head_features=6, weight_init=recorded
    )
    params = layer.init(KEY, BOTH)
    sizes = {"query": (8, 24), "key": (6, 12), "value": (6, 12), "output": (24, 3)}
    assert {name: p["weight"].shape for name, p in params.items()} == sizes
    assert all((np.asarray(p["bias"]) == 0).all() for p in params.values())
    assert [shape for _, shape in seen] == list(sizes.values())
    assert len({str(key) for key, _ in seen}) == 4
    init = jax.jit(lambda key: MultiHeadAttention(2).init(key, (1, 1, 400))["query"])
    wide = np.asarray(init(KEY)["weight"])
    assert wide.std() == pytest.approx((2 / 800) ** 0.5, rel=0.02)


def test_attention_drops_its_output_when_there_is_a_key():
    layer = MultiHeadAttention(2, dropout=0.5)
    params, x = params_and_input(layer, SAME)
    both = jax.jit(lambda p, x: (layer.apply(p, x), layer.apply(p, x, key=KEY)))
    y, dropped = map(np.asarray, both(params, x))
    assert 0.2 < (dropped == 0).mean() < 0.8
    close(np.where(dropped == 0, 0, 2 * y), dropped)


def test_mask_and_bias_with_a_cache_are_those_of_its_length():
    layer = MultiHeadAttention(4, causal=True)
    params, x = params_and_input(layer, SAME)
    real = MASK[:, :, 3:4]  # the same for all queries

    @jax.jit
    def both(params, x):
        want = layer.apply(params, x, mask=real)
        _, cache = layer.apply(params, x[:, :4], cache=5, mask=real[..., :4])
        last = layer.apply(params, x[:, 4:], cache=cache, mask=real, return_weights=True)
        return want[:, 4:], last[0], len(last)

    want, got, outputs = both(params, x)
    assert outputs == 3
    close(got, want)


def test_beyond_a_caches_length_is_nan():
    layer = MultiHeadAttention(4, causal=True)
    params, x = params_and_input(layer, SAME)

    @jax.jit
    def two_more(params, x):
        _, cache = layer.apply(params, x, cache=6)
        y, cache = layer.apply(params, x[:, :1], cache=cache)
        return y, layer.apply(params, x[:, :1], cache=cache)[0]

    y, beyond = map(np.asarray, two_more(params, x))
    assert np.isfinite(y).all()
    assert np.isnan(beyond).all()


def test_a_chunk_that_straddles_a_caches_end():
    layer = MultiHeadAttention(4, causal=True)
    params, x = params_and_input(layer, SAME)
    _, cache = layer.apply(params, x[:, :4], cache=6)
    message = (
        "MultiHeadAttention needs a cache of length 7 or more for 4 positions and 3 "
        "further positions; got one of length 6."
    )
    fails(ValueError, message, layer.apply, params, x[:, :3], cache=cache)
    traced = jax.jit(lambda p, x, cache: layer.apply(p, x, cache=cache)[0])
    assert np.isnan(traced(params, x[:, :3], cache)).all()
    long = jnp.concatenate([x, x], 1)
    message = (
        "needs a cache of length 10 or more for 10 further positions; got one of length 6"
    )
    fails(ValueError, message, traced, params, long, cache)
    model = Transformer(9, 8, 2, 2)
    ids = jnp.zeros((1, 4), jnp.int32)
    params = model.init(KEY, ids)
    _, cache = model.apply(params, ids, cache=5)
    message = "Transformer needs a cache of length 6 or more for 4 positions and 2 further"
    fails(ValueError, message, model.apply, params, ids[:, :2], cache=cache)


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
    params, x = params_and_input(layer, SAME)
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


def test_rotations_of_some_features_are_the_ops():
    options = {"base": 100.0, "features": 2, "interleaved": True, "scaling": 2.0}
    layer = MultiHeadAttention(2, causal=True, rope=options)
    params, x = params_and_input(layer, SAME)
    y, cache = layer.apply(params, x[:, :4], cache=5)
    got = jnp.concatenate([y, layer.apply(params, x[:, 4:], cache=cache)[0]], 1)
    q, k, v = (
        ops.dense(x, **params[name]).reshape(2, 5, 2, 4)
        for name in ("query", "key", "value")
    )
    q, k = (ops.rope(a, **options) for a in (q, k))
    want = ops.dense(
        ops.attention(q, k, v, causal=True).reshape(x.shape), **params["output"]
    )
    close(got, want)
    message = (
        "MultiHeadAttention needs rope with base, features, interleaved, scaling; got "
    )
    fails(ValueError, f"{message}theta.", MultiHeadAttention, 2, rope={"theta": 1.0})
    message = "MultiHeadAttention's rope needs base of at least 1.0; got 0.5."
    fails(ValueError, message, MultiHeadAttention, 2, rope={"base": 0.5})
