"""Transformers over tokens."""

import jax
import jax.numpy as jnp

from funcnn import ops
from funcnn.foundation._checks import as_array, boolean
from funcnn.foundation._dtypes import upcast
from funcnn.layers.attention._cache import Cache, check_cache, check_room
from funcnn.layers.attention._embed import Embed, PositionalEmbedding, of_integers
from funcnn.layers.attention._transformer_block import TransformerBlock
from funcnn.layers.basic._dense import Dense
from funcnn.layers.basic._dropout import Dropout
from funcnn.layers.basic._norm import LayerNorm
from funcnn.layers.combinators._stack import Stack
from funcnn.layers.protocol._calls import calling
from funcnn.layers.protocol._layer import Layer, constructor
from funcnn.layers.protocol._params import check_params

NAME = "Transformer"
POSITIONS = ("rope", "learned", "sinusoidal", None)


@constructor
def Transformer(
    vocabulary: int,
    features: int,
    heads: int,
    depth: int,
    *,
    length: int | None = None,
    positions: str | None = "rope",
    causal: bool = True,
    tied: bool = True,
    norm: str = "pre",
    norm_layer: Layer | None = None,
    dropout: float = 0.0,
    remat: bool = False,
    scan: bool = True,
    **block,
) -> Layer:
    """A language model: tokens `(B, T)` to logits `(B, T, vocabulary)`.

    Embeddings, a `Stack` of `TransformerBlock`, a norm unless each block ends in one, and a
    head.

        model = layers.Transformer(1000, 64, heads=4, depth=2)
        ids = jnp.zeros((8, 16), "int32")
        params = model.init(key, ids)
        logits = model.apply(params, ids)

    To train it, leave the head out, and give its weight to the loss, which makes the logits
    a few at a time:

        model = layers.Transformer(1000, 64, heads=4, depth=2)
        ids = jnp.zeros((8, 16), "int32")

        def loss(params, batch, key):
            x = model.apply(params, batch[:, :-1], key=key, head=False)
            weight = layers.head_weight(params)
            return losses.linear_softmax_cross_entropy(x, weight, batch[:, 1:])

        value, grads = jax.value_and_grad(loss)(model.init(key, ids), ids, key)

    Params: `tokens`, those of `Embed`; `positions`, those of `PositionalEmbedding` if there
    is one; `blocks`, with a first axis of length `depth`; `norm`; and `head`, a `weight` of
    shape `(features, vocabulary)`, unless it is tied. All are in float32.

    `apply(params, ids, *, key=None, head=True, cache=None, mask=None, bias=None,
    key_mask=None, key_lengths=None)`: with `head=False`, what the head would be given, of
    shape `(B, T, features)`. The last four are those of `MultiHeadAttention`. With a cache
    it returns `(y, cache)`: the integer `cache=length` starts one, and later calls go on
    from what was returned.

    Args:
        vocabulary: how many tokens there are.
        features: width of the model.
        heads: of attention.
        depth: how many blocks there are.
        length: the longest sequence, if positions are learned.
        positions: "rope", which turns queries and keys; "learned" or "sinusoidal", which is
            added to the embeddings, in the latter case times `sqrt(features)`; or None.
        causal: whether position `i` sees the positions `j <= i` alone.
        tied: whether the head's weight is the embeddings' table, transposed.
        norm: "pre" or "post"; see `TransformerBlock`.
        norm_layer: `LayerNorm()` by default.
        dropout: share to drop of the embeddings, and in the blocks, when there is a key.
        remat: whether the backward pass computes blocks again; see `Stack`.
        scan: whether blocks are a loop; see `Stack`.
        **block: the other arguments of `TransformerBlock`: `hidden`, `activation`,
            `key_heads`, `window`, `softcap`, `attention_dropout`, `rope`, and so on.

    Raises:
        TypeError: if an argument has the wrong type or there is no such argument.
        ValueError: if a number is out of range, positions are learned and `length` is not
            given, or an argument not one of those named; in `apply`, if there are more
            positions than `length`, or a cache is known to be too short.
    """
    check_options(positions, length, block)
    boolean(NAME, "tied", tied)
    if positions == "rope":
        block = {"rope": True} | block
    added = positions if positions != "rope" else None
    norm_layer = LayerNorm() if norm_layer is None else norm_layer
    tokens = Embed(vocabulary, features)
    places = added and PositionalEmbedding(length or 1, features, added)
    drop = Dropout(dropout)
    layer = TransformerBlock(
        heads, causal=causal, norm=norm, norm_layer=norm_layer, dropout=dropout, **block
    )
    blocks = Stack(layer, depth, remat=remat, scan=scan)
    final = {"norm": norm_layer} if norm == "pre" else {}
    last = {} if tied else {"head": Dense(vocabulary, use_bias=False)}
    first = {"positions": places} if places else {}
    parts = {"tokens": tokens, **first, "blocks": blocks, **final, **last}

    def init(key, shape):
        ids = of_integers(NAME, shape)
        x = jax.ShapeDtypeStruct((*ids.shape, features), jnp.float32)
        keys = jax.random.split(key, len(parts))
        return {
            name: part.init(k, shape if name == "tokens" else x)
            for k, (name, part) in zip(keys, parts.items(), strict=True)
        }

    def apply(params, x, *, key=None, head=True, cache=None, **options):
        check_params(NAME, params, *parts)
        most = length if added == "learned" else None
        check_cache(NAME, cache, most)
        x = as_array(NAME, "x", x)
        if x.ndim != 2:
            raise ValueError(f"{NAME} needs x of shape (B, T); got {x.shape}.")
        if isinstance(cache, Cache):
            check_room(NAME, cache, x.shape[1], block.get("window"), most)
        with calling(tokens, "tokens") as run:
            y = run(params["tokens"], x)
        if places:
            if added == "sinusoidal":
                y = lengthened(y)
            start = cache.position[0] if isinstance(cache, Cache) else None
            with calling(places, "positions") as run:
                y = run(params["positions"], y, start=start)
        keys = (None, None) if key is None else jax.random.split(key)
        y = drop.apply({}, y, key=keys[0])
        with calling(blocks, "blocks") as run:
            y = run(params["blocks"], y, key=keys[1], cache=cache, **options)
        if cache is not None:
            y, cache = y
        for name, part in final.items():
            with calling(part, name) as run:
                y = run(params[name], y)
        if head:
            y = ops.dense(y, head_weight(params))
        return y if cache is None else (y, cache)

    return Layer(init, apply)


def lengthened(y):
    """Embeddings times the square root of their features, which 16 bits would round."""
    return (upcast(y) * y.shape[-1] ** 0.5).astype(y.dtype)


def check_options(positions, length, block):
    """Check that a model can have such positions, and blocks of these arguments.

    Raises:
        ValueError: if it cannot.
    """
    if positions not in POSITIONS:
        raise ValueError(
            f"{NAME} needs positions of rope, learned, sinusoidal or None; got "
            f"{positions!r}."
        )
    if positions == "learned" and length is None:
        raise ValueError(f"{NAME} needs a length if positions are learned; got None.")
    if block.get("cross"):
        raise ValueError(f"{NAME} needs cross=False: a Stack of blocks takes a memory.")


def head_weight(params: dict) -> jax.Array:
    """The weight of a `Transformer`'s head, of shape `(features, vocabulary)`.

    Args:
        params: those of the `Transformer`. If its head is tied, the weight is the table of
            the embeddings, transposed.

    Raises:
        TypeError: if `params` is not a dict.
        ValueError: if it has neither `head` nor `tokens`.
    """
    if "head" in params:
        return params["head"]["weight"]
    return params["tokens"]["table"].T
