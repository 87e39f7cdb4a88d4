"""A training step in Haiku."""

import itertools

import haiku as hk
import jax
import jax.numpy as jnp

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

NAMES = {"weight": "w", "bias": "b", "table": "embeddings", "output": "linear"}


def prepare(model: Model, params: list[dict], inputs, labels) -> Trainer:
    """The model with `params`, one dict for each layer that has any, in order."""

    def forward(x):
        return run(model.layers, x, (f"layer{i}" for i in itertools.count()))

    network = hk.without_apply_rng(hk.transform(forward))
    theirs: dict = {}
    for i, layer in enumerate(params):
        theirs |= by_module(f"layer{i}", layer)
    return with_optax(network.apply, theirs, (inputs, labels))


def by_module(module: str, params: dict) -> dict[str, dict]:
    """Parameters by the names of their modules, which those of attention have four of."""
    found, own = {}, {}
    for name, value in params.items():
        name = NAMES.get(name, name)
        if isinstance(value, dict):
            found |= by_module(f"{module}/{name}", value)
        else:
            own[name] = value
    return found | ({module: own} if own else {})


class AddPositions(hk.Module):
    """Learned positions."""

    def __call__(self, x, parts):
        """`(N, T, d)` to the same."""
        table = hk.get_parameter("embeddings", tuple(parts), init=jnp.zeros)
        return x + table[: x.shape[-2]]


def attention(heads, x, name):
    """Causal attention, `(N, T, d)` to the same."""
    width = x.shape[-1]
    init = hk.initializers.VarianceScaling()
    layer = hk.MultiHeadAttention(
        heads, width // heads, w_init=init, model_size=width, name=name
    )
    return layer(x, x, x, jnp.tri(x.shape[-2], dtype=bool)[None, None])


def run(parts, x, names):
    """Layers one after the other."""
    for part in parts:
        match part:
            case Conv(features, kernel, stride, groups):
                x = hk.Conv2D(
                    features,
                    kernel,
                    stride,
                    padding=((part.padding, part.padding),) * 2,
                    feature_group_count=groups,
                    name=next(names),
                )(x)
            case Dense(features):
                x = hk.Linear(features, name=next(names))(x)
            case GroupNorm(groups):
                x = hk.GroupNorm(groups, eps=EPS, name=next(names))(x)
            case LayerNorm():
                x = hk.LayerNorm(-1, True, True, eps=EPS, name=next(names))(x)
            case Embed(vocabulary, features):
                x = hk.Embed(vocabulary, features, name=next(names))(x)
            case Positions():
                x = AddPositions(next(names))(x, part)
            case Attention(heads):
                x = attention(heads, x, next(names))
            case Act(name):
                x = {"relu": jax.nn.relu, "gelu": jax.nn.gelu}[name](x)
            case MaxPool(window):
                sizes = (1, window, window, 1)
                x = hk.max_pool(x, sizes, sizes, "VALID")
            case GlobalPool():
                x = x.mean((1, 2))
            case Flatten():
                x = hk.Flatten()(x)
            case Residual(body, shortcut):
                y = run(body, x, names)
                x = y + run(shortcut, x, names)
    return x
