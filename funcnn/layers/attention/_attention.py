"""Attention with several heads."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax.nn import initializers

from funcnn import ops
from funcnn.foundation._checks import as_array, boolean, number
from funcnn.foundation._checks import softcap as checked_softcap
from funcnn.layers.attention._cache import Cache, nan_beyond, remembered
from funcnn.layers.attention._heads import (
    NAME,
    check_unmasked,
    check_use,
    checked_heads,
    head_width,
    pair,
    product,
    rope_options,
    turned,
    weights,
    with_key_mask,
)
from funcnn.layers.basic._dense import GLOROT_NORMAL
from funcnn.layers.protocol._layer import Layer, constructor
from funcnn.layers.protocol._params import affine_params, check_params
from funcnn.layers.protocol._shapes import describe

PRODUCTS = ("query", "key", "value", "output")


@constructor
def MultiHeadAttention(
    heads: int,
    causal: bool = False,
    *,
    features: int | None = None,
    head_features: int | None = None,
    key_heads: int | None = None,
    window: int | tuple[int | None, int | None] | None = None,
    softcap: float | None = None,
    rope: bool | float | Mapping = False,
    use_bias: bool = True,
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
    weight_init: Callable = GLOROT_NORMAL,
    bias_init: Callable = initializers.zeros,
) -> Layer:
    """Attention of each position to all, `(B, T, d)` to `(B, T, features)`.

    Self attention of an array; cross attention of a pair `(x, memory)`, whose queries are
    made of `x` and whose keys and values of `memory`, of shape `(B, S, m)`.

        layer = layers.MultiHeadAttention(4, causal=True)
        x = jnp.ones((2, 5, 32))
        params = layer.init(key, x)
        y = layer.apply(params, x)
        y, cache = layer.apply(params, x[:, :3], cache=5)
        y, cache = layer.apply(params, x[:, 3:4], cache=cache)
        y, cache = layer.apply(params, x[:, 4:5], cache=cache)

    Params: `query`, with a `weight` of shape `(d, heads * D)` and a `bias`, `key` and
    `value` of `(m, key_heads * D)`, and `output` of `(heads * D, features)`; without biases
    if `use_bias=False`. Each starts as a `Dense` of its shape would.

    `apply(params, x, *, key=None, mask=None, bias=None, key_mask=None, key_lengths=None,
    cache=None, return_weights=False)`: `mask`, booleans that are true where a query sees a
    key, and `bias`, which is added to the scores, broadcast to `(B, heads, T, S)`. Keys
    that are padding are hidden by `key_mask`, booleans of shape `(B, S)` that are true
    where a key counts, or by `key_lengths`, integers of shape `(B,)`, how many do. With
    `return_weights`, `apply` returns `(y, weights)`, the latter of shape `(B, heads, T,
    S)`: for looking at, as it takes time and memory that `y` alone does not.

    With a cache `apply` returns `(y, cache)`, or `(y, weights, cache)`. The integer
    `cache=length` starts one of that length, and what was returned is given to the next
    call, which goes on at the next position, with S the cache's length. Self attention has
    to be causal for that. In cross attention the cache holds what was made of `memory`,
    whatever the integer, and later calls read no memory. Positions beyond the length
    are an error, or NaN where the cache's position is traced; with a window and a length
    of more than its positions before, there is room for any number of them, as position
    `p` takes the place of `p - length` (a mask's key is then that of its place,
    `p % length`; calls of several positions that leave no room for the window take none).

    Args:
        heads: how many there are.
        causal: whether position `i` sees the positions `j <= i` alone.
        features: length of the output's last axis, `d` by default.
        head_features: D, the length of a head's queries, keys and values; `d / heads` by
            default.
        key_heads: how many heads of keys and values there are, `heads` by default; divides
            `heads`. One serves `heads / key_heads` heads of queries (grouped-query
            attention, arXiv:2305.13245).
        window: positions before and after its own that one sees; see `ops.attention`.
        softcap: bounds the scores; see `ops.attention`.
        rope: whether queries and keys are turned by their positions, the base of that, or a
            dict of `base`, `features`, `interleaved`, `scaling`; see `ops.rope`.
        use_bias: whether the four products add a bias.
        dropout: share of the output to drop when there is a key.
        attention_dropout: share of the weights to drop when there is a key.
        weight_init: `weight_init(key, shape, dtype)`, as in `jax.nn.initializers`.
        bias_init: likewise.

    Raises:
        TypeError: if an argument has the wrong type; in `apply`, if `cache` is neither a
            cache nor an integer.
        ValueError: if a number is out of range, or `key_heads` does not divide `heads`; in
            `init` and `apply`, if the shapes do not fit; in `apply`, if self attention with
            a cache is not causal, or the cache is known to be too short.
    """
    boolean(NAME, "causal", causal)
    boolean(NAME, "use_bias", use_bias)
    heads, groups = checked_heads(heads, key_heads, features, head_features)
    softcap = checked_softcap(NAME, softcap)
    turns = rope_options(rope)
    dropout = number(NAME, "dropout", dropout, low=0.0, high=1.0)
    attention_dropout = number(NAME, "attention_dropout", attention_dropout, 0.0, 1.0)

    def init(key, shape):
        x, memory, _ = pair(describe(NAME, shape))
        width = head_width(x, heads, head_features)
        d, m = x.shape[-1], memory.shape[-1]
        sizes = (
            (d, heads * width),
            *[(m, groups * width)] * 2,
            (heads * width, features or d),
        )
        initial_bias = bias_init if use_bias else None
        keys = jax.random.split(key, len(PRODUCTS))
        return {
            name: affine_params(k, x, size, weight_init, initial_bias)
            for name, k, size in zip(PRODUCTS, keys, sizes, strict=True)
        }

    def apply(
        params,
        x,
        *,
        key=None,
        mask=None,
        bias=None,
        key_mask=None,
        key_lengths=None,
        cache=None,
        return_weights=False,
    ):
        check_params(NAME, params, *PRODUCTS)
        x, memory, cross = pair(x)
        width = head_width(x, heads, head_features)
        check_use(cache, x, cross, causal, window)
        goes_on = isinstance(cache, Cache)
        first = cache.position if goes_on else 0
        q = turned(product(params["query"], x, heads, width), first, turns)
        if cross and goes_on:
            k, v = cache.keys, cache.values
        else:
            k = product(params["key"], memory, groups, width)
            k = turned(k, 0 if cross else first, turns)
            v = product(params["value"], memory, groups, width)
        k, v, cache, keep = remembered(cache, k, v, x.shape[1], cross, window)
        if goes_on and not cross and k.shape[1] > cache.keys.shape[1]:
            check_unmasked(x.shape[1], window, mask, bias, key_mask, key_lengths)
        mask = with_key_mask(mask, key_mask, k)
        options: dict[str, Any] = {"causal": causal, "window": window}
        if keep is not None:  # that is causal, and has the window
            mask = keep if mask is None else keep & as_array(NAME, "mask", mask)
            options = {}
        options |= {"softcap": softcap, "key_lengths": key_lengths}
        if attention_dropout and key is not None:
            key, weight_key = jax.random.split(key)
            options |= {"dropout": attention_dropout, "key": weight_key}
        y = ops.attention(q, k, v, mask, bias, **options)
        y = y.reshape(*x.shape[:2], heads * width)
        y = ops.dense(y, params["output"]["weight"], params["output"].get("bias"))
        if keep is not None:
            y = nan_beyond(cache, y, window)
        if dropout and key is not None:
            y = ops.dropout(key, y, dropout)
        more = [weights(q, k, mask, bias, options)] if return_weights else []
        more += [] if cache is None else [cache]
        return (y, *more) if more else y

    return Layer(init, apply)
