"""A training step in Flax: Linen, whose modules cost nothing once jitted."""

import itertools

from flax import linen as nn

from benchmarks.steps import parts
from benchmarks.steps.models import Model
from benchmarks.steps.sequence import run
from benchmarks.steps.trainer import Trainer, with_optax

NAMES = {"weight": "kernel", "offset": "bias", "table": "embedding"}


class Network(nn.Module):
    """The parts, with parameters named by their position among those that have any."""

    parts: tuple

    @nn.compact
    def __call__(self, x):
        """A batch to its logits."""
        return run(self.parts, x, map(str, itertools.count()), call)


class SelfAttention(nn.Module):
    """Causal attention, its parameters named as in funcnn."""

    heads: int

    @nn.compact
    def __call__(self, x):
        """`(N, T, d)` to the same."""
        q, k, v = (
            nn.Dense(x.shape[-1], name=name)(x).reshape(*x.shape[:-1], self.heads, -1)
            for name in ("query", "key", "value")
        )
        y = nn.dot_product_attention(q, k, v, mask=nn.make_causal_mask(x[..., 0]))
        return nn.Dense(x.shape[-1], name="output")(y.reshape(x.shape))


class AddPositions(nn.Module):
    """Learned positions."""

    table: tuple[int, int]

    @nn.compact
    def __call__(self, x):
        """`(N, T, d)` to the same."""
        table = self.param("embedding", nn.initializers.zeros, self.table)
        return x + table[: x.shape[-2]]


def prepare(model: Model, params: list[dict], inputs, labels) -> Trainer:
    """The model with `params`, one dict for each layer that has any, in order."""
    network = Network(model.layers)
    theirs = {str(i): renamed(layer) for i, layer in enumerate(params)}

    def logits(params, inputs):
        return network.apply({"params": params}, inputs)

    return with_optax(logits, theirs, (inputs, labels))


def renamed(params: dict) -> dict:
    """Parameters by their names here."""
    return {
        NAMES.get(name, name): renamed(a) if isinstance(a, dict) else a
        for name, a in params.items()
    }


def call(part, x, names):
    """The layer that is told, made and called."""
    match part:
        case parts.Conv(features, kernel, stride, groups):
            layer = nn.Conv(
                features,
                (kernel, kernel),
                stride,
                part.padding,
                feature_group_count=groups,
                name=next(names),
            )
        case parts.Dense(features):
            layer = nn.Dense(features, name=next(names))
        case parts.GroupNorm(groups):
            layer = nn.GroupNorm(groups, epsilon=parts.EPS, name=next(names))
        case parts.LayerNorm():
            layer = nn.LayerNorm(epsilon=parts.EPS, name=next(names))
        case parts.Embed(vocabulary, features):
            layer = nn.Embed(vocabulary, features, name=next(names))
        case parts.Positions():
            layer = AddPositions(tuple(part), name=next(names))
        case parts.Attention(heads):
            layer = SelfAttention(heads, name=next(names))
        case parts.MaxPool(window):
            return nn.max_pool(x, (window, window), (window, window))
        case _:
            raise TypeError(f"there is no layer {part!r}")
    return layer(x)
