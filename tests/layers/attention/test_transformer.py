"""Transformers: their parts, their caches, their gradient, under transformations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import layers, losses, verify
from funcnn.layers import Transformer, TransformerBlock
from tests.support.attention import MODELS, SAME, TOKENS, decoded, model, normalised
from tests.support.layers import KEY, abstract, close, fails, filled

IDS = jax.ShapeDtypeStruct(TOKENS.shape, jnp.int32)
OTHER = (TOKENS - np.eye(7, dtype=int)[4]) % 11  # another token at one position


def in_parts(name, p):
    """What the head of such a model is given, and its weight."""
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
    return x, p["tokens"]["table"].T if tied else p["head"]["weight"]


@pytest.fixture(scope="module", params=MODELS)
def computed(request):
    """Of a model: logits, whole and in pieces, its body, and what they should be."""
    name = request.param
    layer, params = model(name)
    cuts = (3, 5) if name == "rope" else (3,)

    @jax.jit
    def compute(params):
        x, head = in_parts(name, params)
        return {
            "logits": layer.apply(params, np.concatenate([TOKENS, OTHER])),
            "cached": decoded(layer, params, jnp.asarray(TOKENS), 7, cuts)[0],
            "body": layer.apply(params, TOKENS, head=False),
            "head": layers.head_weight(params),
            "want": (x, head, x @ head),
        }

    return jax.tree.map(np.asarray, compute(params))


def test_a_transformer_is_its_parts(computed):
    x, head, logits = computed["want"]
    close(computed["body"], x)
    close(computed["head"], head, 0)
    close(computed["logits"][:2], logits)


def test_logits_with_a_cache_are_those_without(computed):
    close(computed["cached"], computed["logits"][:2], 1e-11)


def test_only_what_comes_before_counts(computed):
    y, other = computed["logits"][:2], computed["logits"][2:]
    close(other[:, :4], y[:, :4], 0)
    changed = np.abs(other - y).max(-1)
    assert (changed[:, 4:] > 1e-6).all()


def test_without_causal_all_of_it_counts():
    layer = Transformer(11, 8, 4, 1, causal=False)
    params = filled(abstract(layer, IDS)[0], scale=0.5)
    y = np.asarray(jax.jit(layer.apply)(params, np.concatenate([TOKENS, OTHER])))
    assert (np.abs(y[:2] - y[2:]).max(-1) > 1e-6).all()


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

    def plain(params):
        logits = layer.apply(params, TOKENS[:, :-1])
        return losses.softmax_cross_entropy(logits, TOKENS[:, 1:])

    verify.compare(loss, params, costs=False).raise_if_failed()
    close(*jax.jit(lambda params: (loss(params), plain(params)))(params))


def test_a_transformer_under_transformations():
    layer = Transformer(11, 8, 4, 1)
    params = filled(abstract(layer, IDS)[0], scale=0.5)
    low = jax.tree.map(lambda a: a.astype(jnp.bfloat16), params)
    traces = []  # a private count of JAX's came out as 0 after thousands of tests

    @jax.jit
    def apply(params, tokens):
        traces.append(tokens)
        return layer.apply(params, tokens)

    y = np.asarray(apply(params, TOKENS))
    apply(params, TOKENS + 1 - 1)
    assert len(traces) == 1
    rough = np.asarray(apply(low, TOKENS))
    assert rough.dtype == jnp.bfloat16
    assert np.abs(rough.astype(y.dtype) - y).max() < 0.1 * np.abs(y).max()
    _, cache = jax.eval_shape(lambda p: layer.apply(p, TOKENS, cache=8), low)
    assert [str(a.dtype) for a in cache] == ["bfloat16", "bfloat16", "int32"]
    both = jax.tree.map(lambda a: np.stack([a, 2 * a]), params)
    mapped = jax.jit(jax.vmap(layer.apply, (0, None)))(both, TOKENS)
    close(np.asarray(mapped)[0], y)


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
