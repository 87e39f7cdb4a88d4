"""A transformer's block: attention, then a perceptron for each position."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax.nn import initializers

from funcnn import ops
from funcnn.foundation._checks import boolean, number
from funcnn.foundation._dtypes import promote
from funcnn.layers.attention._attention import MultiHeadAttention
from funcnn.layers.attention._perceptron import perceptron
from funcnn.layers.basic._dense import GLOROT_NORMAL
from funcnn.layers.basic._norm import LayerNorm
from funcnn.layers.protocol._calls import calling
from funcnn.layers.protocol._layer import Layer, constructor
from funcnn.layers.protocol._params import check_params
from funcnn.layers.protocol._shapes import describe

NAME = "TransformerBlock"


@constructor
def TransformerBlock(
    heads: int,
    *,
    hidden: int | None = None,
    causal: bool = False,
    cross: bool = False,
    norm: str = "pre",
    norm_layer: Layer | None = None,
    activation: str | Layer = "gelu",
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
    key_heads: int | None = None,
    head_features: int | None = None,
    window: int | tuple[int | None, int | None] | None = None,
    softcap: float | None = None,
    rope: bool | float | Mapping = False,
    use_bias: bool = True,
    weight_init: Callable = GLOROT_NORMAL,
    bias_init: Callable = initializers.zeros,
) -> Layer:
    """Attention and a perceptron, each added to its input, `(B, T, d)` to the same.

    With `norm="pre"`, `x + f(normalised(x))` for each of the two in turn, as in GPT-2; with
    "post", `normalised(x + f(x))`, as in the first transformer (Vaswani et al., 2017,
    arXiv:1706.03762) and BERT.

        gpt = layers.TransformerBlock(8, causal=True)
        llama = layers.TransformerBlock(
            8, causal=True, key_heads=2, rope=True, use_bias=False,
            norm_layer=layers.RMSNorm(), activation="swiglu",
        )
        bert = layers.TransformerBlock(
            8, norm="post", norm_layer=layers.LayerNorm(1e-12),
            activation=layers.Gelu(approximate=False),
        )

    Params: `attention`, `attention_norm`, `mlp`, `mlp_norm`, those of their layers, where
    `mlp` has `hidden`, `activation` and `output`, or `hidden` and `output` if it is gated;
    with `cross`, `cross` and `cross_norm` too.

    `apply(params, x, *, key=None, mask=None, bias=None, key_mask=None, key_lengths=None,
    memory_mask=None, memory_lengths=None, cache=None)`: mask, bias, `key_mask` and
    `key_lengths` are those of `MultiHeadAttention`, as is the cache, with which it returns
    `(y, cache)`. With `cross`, the input is `(x, memory)`: between the two, `x` attends to
    `memory` where `memory_mask`, which broadcasts to `(B, heads, T, S)`, is true, to
    so many keys as `memory_lengths` of shape `(B,)` says, and the cache is a pair.

    Args:
        heads: of attention.
        hidden: width of the perceptron, `4 * d` by default.
        causal: whether position `i` sees the positions `j <= i` alone.
        cross: whether there is cross attention to a memory.
        norm: "pre" or "post".
        norm_layer: `LayerNorm()` by default; also a `RMSNorm`, or one with another `eps`.
        activation: "gelu" (the tanh approximation), "relu", "silu", or a layer; or gated,
            "swiglu" or "geglu".
        dropout: share to drop of what attention and perceptron add, when there is a key.
        attention_dropout: share of the weights of attention to drop, when there is a key.
        key_heads: of self and cross attention; see `MultiHeadAttention`.
        head_features: likewise.
        window: of self attention, as are the next two; see `MultiHeadAttention`.
        softcap: likewise.
        rope: likewise.
        use_bias: whether products add a bias.
        weight_init: `weight_init(key, shape, dtype)`, as in `jax.nn.initializers`.
        bias_init: likewise.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if a number is out of range, or `norm` or `activation` not one of these.
    """
    boolean(NAME, "cross", cross)
    dropout = number(NAME, "dropout", dropout, low=0.0, high=1.0)
    if norm not in ("pre", "post"):
        raise ValueError(f"{NAME} needs a norm of pre or post; got {norm!r}.")
    norm_layer = LayerNorm() if norm_layer is None else norm_layer
    if not isinstance(norm_layer, Layer):
        raise TypeError(f"{NAME} needs a layer for norm_layer; got {norm_layer!r}.")
    products: dict[str, Any] = {
        "use_bias": use_bias,
        "weight_init": weight_init,
        "bias_init": bias_init,
    }
    mlp = perceptron(NAME, hidden, activation, products)
    shared = products | {
        "key_heads": key_heads,
        "head_features": head_features,
        "attention_dropout": attention_dropout,
    }
    parts = {
        "attention": MultiHeadAttention(
            heads, causal, window=window, softcap=softcap, rope=rope, **shared
        )
    }
    if cross:
        parts["cross"] = MultiHeadAttention(heads, **shared)
    names = [*parts, "mlp"]

    def part(name, x):
        return parts.get(name) or mlp(x.shape[-1])

    def init(key, shape):
        x, memory = split(describe(NAME, shape), cross)
        params = {}
        for i, name in enumerate(names):
            k, norm_key = jax.random.split(jax.random.fold_in(key, i))
            params[name] = part(name, x).init(k, (x, memory) if name == "cross" else x)
            params[f"{name}_norm"] = norm_layer.init(norm_key, x)
        return params

    def normalized(params, name, x):
        with calling(norm_layer, f"{name}_norm") as run:
            return run(params[f"{name}_norm"], x)

    def apply(
        params,
        x,
        *,
        key=None,
        mask=None,
        bias=None,
        key_mask=None,
        key_lengths=None,
        memory_mask=None,
        memory_lengths=None,
        cache=None,
    ):
        check_params(NAME, params, *names, *(f"{name}_norm" for name in names))
        x, memory = split(x, cross)
        both = cross and isinstance(cache, tuple)
        given: dict[str, dict] = {
            "attention": {
                "mask": mask,
                "bias": bias,
                "key_mask": key_mask,
                "key_lengths": key_lengths,
                "cache": cache[0] if both else cache,
            },
            "cross": {
                "mask": memory_mask,
                "key_lengths": memory_lengths,
                "cache": cache[1] if both else cache,
            },
            "mlp": {},
        }
        if attention_dropout and key is not None:
            for i, name in enumerate(parts):
                given[name]["key"] = jax.random.fold_in(key, len(names) + i)
        caches = []
        for i, name in enumerate(names):
            y = normalized(params, name, x) if norm == "pre" else x
            with calling(part(name, x), name) as run:
                y = run(params[name], (y, memory) if name == "cross" else y, **given[name])
            if cache is not None and name != "mlp":
                y, own = y
                caches.append(own)
            if dropout and key is not None:
                y = ops.dropout(jax.random.fold_in(key, i), y, dropout)
            x = added(x, y)
            if norm == "post":
                x = normalized(params, name, x)
        if cache is None:
            return x
        return x, tuple(caches) if cross else caches[0]

    return Layer(init, apply)


def added(x, y):
    """The sum, in the wider dtype of the two."""
    dtype = promote(x, y)
    return x.astype(dtype) + y.astype(dtype)


def split(x, cross):
    """The input, and the memory or None.

    Raises:
        TypeError: if there is one where it is not wanted, or none where it is.
    """
    two = isinstance(x, tuple | list) and len(x) == 2
    if two != cross:
        wanted, got = ("(x, memory)", "one") if cross else ("one input", "several")
        raise TypeError(f"{NAME} with cross={cross} needs {wanted}; got {got}.")
    return x if two else (x, None)
