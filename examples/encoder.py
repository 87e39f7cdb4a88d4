"""BERT's encoder (Devlin et al., 2018, arXiv:1810.04805), and its weights for it."""

import jax
import jax.numpy as jnp

from funcnn import layers


def Encoder(
    vocabulary: int, features: int, heads: int, depth: int, length: int, *, kinds: int = 2
) -> layers.Layer:
    """Tokens `(B, T)` to states `(B, T, features)` and a summary `(B, features)`.

    Embeddings of tokens, of their kind (such as first or second sentence) and of their
    positions, whose sum is normalised; blocks with norms after each sum; and for the
    summary a dense layer with tanh, of the first state.

    `apply(params, ids, *, types=None, mask=None, key=None)`: `types` are integers of shape
    `(B, T)`, 0 by default; `mask`, booleans of shape `(B, T)`, is false where a token is
    padding, and by default nowhere.

    Args:
        vocabulary: how many tokens there are.
        features: width of the model; the perceptrons are four times as wide.
        heads: of attention.
        depth: how many blocks there are.
        length: the longest sequence.
        kinds: how many kinds of tokens there are.
    """
    norm = layers.LayerNorm(1e-12)
    block = layers.TransformerBlock(
        heads, norm="post", norm_layer=norm, activation=layers.Gelu(approximate=False)
    )
    parts = {
        "tokens": layers.Embed(vocabulary, features),
        "types": layers.Embed(kinds, features),
        "positions": layers.PositionalEmbedding(length, features),
        "norm": norm,
        "blocks": layers.Stack(block, depth),
        "summary": layers.Serial(layers.Dense(features), layers.Tanh()),
    }

    def init(key, shape):
        x = (*shape.shape, features)
        keys = jax.random.split(key, len(parts))
        return {
            name: part.init(k, shape if name in ("tokens", "types") else x)
            for k, (name, part) in zip(keys, parts.items(), strict=True)
        }

    def apply(params, ids, *, types=None, mask=None, key=None):
        types = jnp.zeros_like(ids) if types is None else types
        mask = None if mask is None else mask[:, None, None, :]
        x = parts["tokens"].apply(params["tokens"], ids)
        x = x + parts["types"].apply(params["types"], types)
        x = parts["positions"].apply(params["positions"], x)
        x = parts["norm"].apply(params["norm"], x)
        x = parts["blocks"].apply(params["blocks"], x, key=key, mask=mask)
        return x, parts["summary"].apply(params["summary"], x[:, 0])

    return layers.Layer(init, apply)


def from_bert(weights: dict, depth: int) -> dict:
    """The params that `weights` are, by the names of `transformers.BertModel`.

    Args:
        weights: arrays by name: `{k: v.numpy() for k, v in bert.state_dict().items()}`.
        depth: how many blocks there are.

    Raises:
        KeyError: if one is missing.
    """

    def table(name):
        return {"table": jnp.asarray(weights[f"embeddings.{name}_embeddings.weight"])}

    def norm(name):
        scale, offset = weights[f"{name}.weight"], weights[f"{name}.bias"]
        return {"scale": jnp.asarray(scale), "offset": jnp.asarray(offset)}

    def dense(name):
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        return {"weight": jnp.asarray(weight.T), "bias": jnp.asarray(bias)}

    def block(i):
        name = f"encoder.layer.{i}"
        products = ("query", "key", "value")
        return {
            "attention": {p: dense(f"{name}.attention.self.{p}") for p in products}
            | {"output": dense(f"{name}.attention.output.dense")},
            "attention_norm": norm(f"{name}.attention.output.LayerNorm"),
            "mlp": {
                "hidden": dense(f"{name}.intermediate.dense"),
                "activation": {},
                "output": dense(f"{name}.output.dense"),
            },
            "mlp_norm": norm(f"{name}.output.LayerNorm"),
        }

    return {
        "tokens": table("word"),
        "types": table("token_type"),
        "positions": table("position"),
        "norm": norm("embeddings.LayerNorm"),
        "blocks": jax.tree.map(lambda *a: jnp.stack(a), *map(block, range(depth))),
        "summary": (dense("pooler.dense"), {}),
    }
