"""A training step in Flax: Linen, whose modules cost nothing once jitted."""

import itertools

from flax import linen as nn

from benchmarks.steps.models import (
    EPS,
    Act,
    Attention,
    Conv,
    Dense,
    Embed,
    Flatten,
    GlobalPool,
    GroupNorm,
    LayerNorm,
    MaxPool,
    Model,
    Positions,
    Residual,
)
from benchmarks.steps.trainer import Trainer, with_optax

NAMES = {"weight": "kernel", "offset": "bias", "table": "embedding"}


class Network(nn.Module):
    """The parts, with parameters named by their position among those that have any."""

    parts: tuple

    @nn.compact
    def __call__(self, x):
        """A batch to its logits."""
        return run(self.parts, x, map(str, itertools.count()))


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

    parts: Positions

    @nn.compact
    def __call__(self, x):
        """`(N, T, d)` to the same."""
        return (
            x
            + self.param("embedding", nn.initializers.zeros, tuple(self.parts))[
                : x.shape[-2]
            ]
        )


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


def run(parts, x, names):
    """Layers one after the other."""
    for part in parts:
        match part:
            case Conv(features, kernel, stride, groups):
                x = nn.Conv(
                    features,
                    (kernel, kernel),
                    stride,
                    part.padding,
                    feature_group_count=groups,
                    name=next(names),
                )(x)
            case Dense(features):
                x = nn.Dense(features, name=next(names))(x)
            case GroupNorm(groups):
                x = nn.GroupNorm(groups, epsilon=EPS, name=next(names))(x)
            case LayerNorm():
                x = nn.LayerNorm(epsilon=EPS, name=next(names))(x)
            case Embed(vocabulary, features):
                x = nn.Embed(vocabulary, features, name=next(names))(x)
            case Positions():
                x = AddPositions(part, name=next(names))(x)
            case Attention(heads):
                x = SelfAttention(heads, name=next(names))(x)
            case Act(name):
                x = {"relu": nn.relu, "gelu": nn.gelu}[name](x)
            case MaxPool(window):
                x = nn.max_pool(x, (window, window), (window, window))
            case GlobalPool():
                x = x.mean((1, 2))
            case Flatten():
                x = x.reshape(x.shape[0], -1)
            case Residual(body, shortcut):
                y = run(body, x, names)
                x = y + run(shortcut, x, names)
    return x
