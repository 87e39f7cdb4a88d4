"""A transformer's block: attention, then a perceptron for each position."""

from collections.abc import Callable
from typing import Any

import jax
from jax.nn import initializers

from funcnn import ops
from funcnn.foundation._checks import boolean, integer, number
from funcnn.foundation._dtypes import promote
from funcnn.layers.attention._attention import MultiHeadAttention
from funcnn.layers.basic._activations import Gelu, Relu, Silu
from funcnn.layers.basic._dense import GLOROT_NORMAL, Dense
from funcnn.layers.basic._gated import GeGLU, SwiGLU
from funcnn.layers.basic._norm import LayerNorm
from funcnn.layers.combinators._combinators import Serial
from funcnn.layers.protocol._calls import calling
from funcnn.layers.protocol._common import check_params, describe
from funcnn.layers.protocol._layer import Layer

NAME = "TransformerBlock"
ACTIVATIONS = {"gelu": Gelu, "relu": Relu, "silu": Silu}
GATED = {"swiglu": SwiGLU, "geglu": GeGLU}


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
    key_heads: int | None = None,
    head_features: int | None = None,
    window: int | tuple[int | None, int | None] | None = None,
    softcap: float | None = None,
    rope: bool | float = False,
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

    `apply(params, x, *, key=None, mask=None, bias=None, memory_mask=None, cache=None)`:
    mask and bias are those of `MultiHeadAttention`, as is the cache, with which it returns
    `(y, cache)`. With `cross`, the input is `(x, memory)`: between the two, `x` attends to
    `memory` where `memory_mask`, which broadcasts to `(B, heads, T, S)`, is true, and the
    cache is a pair.

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
    if hidden is not None:
        hidden = integer(NAME, "hidden", hidden, minimum=1)
    boolean(NAME, "cross", cross)
    dropout = number(NAME, "dropout", dropout, low=0.0, high=1.0)
    if norm not in ("pre", "post"):
        raise ValueError(f"{NAME} needs a norm of pre or post; got {norm!r}.")
    norm_layer = LayerNorm() if norm_layer is None else norm_layer
    if not isinstance(norm_layer, Layer):
        raise TypeError(f"{NAME} needs a layer for norm_layer; got {norm_layer!r}.")
    known = [*ACTIVATIONS, *GATED]
    if not isinstance(activation, Layer) and activation not in known:
        raise ValueError(
            f"{NAME} needs an activation that is a layer or one of {', '.join(known)}; "
            f"got {activation!r}."
        )
    products: dict[str, Any] = {
        "use_bias": use_bias,
        "weight_init": weight_init,
        "bias_init": bias_init,
    }
    shared = products | {"key_heads": key_heads, "head_features": head_features}
    parts = {
        "attention": MultiHeadAttention(
            heads, causal, window=window, softcap=softcap, rope=rope, **shared
        )
    }
    if cross:
        parts["cross"] = MultiHeadAttention(heads, **shared)

    def mlp(features):
        width = hidden or 4 * features
        output = Dense(features, **products)
        if activation in GATED:
            return Serial(hidden=GATED[activation](width, **products), output=output)
        act = activation if isinstance(activation, Layer) else ACTIVATIONS[activation]()
        return Serial(hidden=Dense(width, **products), activation=act, output=output)

    names = [*parts, "mlp"]

    def normalized(params, name, x):
        with calling(norm_layer, f"{name}_norm") as run:
            return run(params[f"{name}_norm"], x)

    def init(key, shape):
        x = describe(NAME, shape)
        x, memory = split(x, cross)
        params = {}
        for i, name in enumerate(names):
            part = parts.get(name) or mlp(x.shape[-1])
            k, norm_key = jax.random.split(jax.random.fold_in(key, i))
            params[name] = part.init(k, (x, memory) if name == "cross" else x)
            params[f"{name}_norm"] = norm_layer.init(norm_key, x)
        return params

    def apply(params, x, *, key=None, mask=None, bias=None, memory_mask=None, cache=None):
        check_params(NAME, params, *names, *(f"{name}_norm" for name in names))
        x, memory = split(x, cross)
        caches = []
        for i, name in enumerate(names):
            k = None if key is None else jax.random.fold_in(key, i)
            y = normalized(params, name, x) if norm == "pre" else x
            if name == "mlp":
                with calling(mlp(x.shape[-1]), name) as run:
                    y = run(params[name], y)
            else:
                own = cache[i] if cross and isinstance(cache, tuple) else cache
                inputs, seen = y, {"mask": mask, "bias": bias}
                if name == "cross":
                    inputs, seen = (y, memory), {"mask": memory_mask}
                with calling(parts[name], name) as run:
                    y = run(params[name], inputs, cache=own, **seen)
                if cache is not None:
                    y, own = y
                    caches.append(own)
            if dropout and k is not None:
                y = ops.dropout(k, y, dropout)
            dtype = promote(x, y)
            x = x.astype(dtype) + y.astype(dtype)
            if norm == "post":
                x = normalized(params, name, x)
        if cache is None:
            return x
        return x, tuple(caches) if cross else caches[0]

    return Layer(init, apply)


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
