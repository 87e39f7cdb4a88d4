"""A training step in Haiku."""

import itertools

import haiku as hk
import jax.numpy as jnp

from benchmarks.steps import parts
from benchmarks.steps.models import Model
from benchmarks.steps.sequence import run
from benchmarks.steps.trainer import Trainer, with_optax

NAMES = {"weight": "w", "bias": "b", "table": "embeddings", "output": "linear"}


def prepare(model: Model, params: list[dict], inputs, labels) -> Trainer:
    """The model with `params`, one dict for each layer that has any, in order."""

    def forward(x):
        names = (f"layer{i}" for i in itertools.count())
        return run(model.layers, x, names, call)

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

    def __init__(self, table, name):
        super().__init__(name)
        self.table = table

    def __call__(self, x):
        """`(N, T, d)` to the same."""
        table = hk.get_parameter("embeddings", self.table, init=jnp.zeros)
        return x + table[: x.shape[-2]]


def attention(heads, x, name):
    """Causal attention, `(N, T, d)` to the same."""
    width = x.shape[-1]
    init = hk.initializers.VarianceScaling()
    layer = hk.MultiHeadAttention(
        heads, width // heads, w_init=init, model_size=width, name=name
    )
    return layer(x, x, x, jnp.tri(x.shape[-2], dtype=bool)[None, None])


def call(part, x, names):
    """The layer that is told, made and called."""
    match part:
        case parts.Conv(features, kernel, stride, groups):
            layer = hk.Conv2D(
                features,
                kernel,
                stride,
                padding=((part.padding, part.padding),) * 2,
                feature_group_count=groups,
                name=next(names),
            )
        case parts.Dense(features):
            layer = hk.Linear(features, name=next(names))
        case parts.GroupNorm(groups):
            layer = hk.GroupNorm(groups, eps=parts.EPS, name=next(names))
        case parts.LayerNorm():
            layer = hk.LayerNorm(-1, True, True, eps=parts.EPS, name=next(names))
        case parts.Embed(vocabulary, features):
            layer = hk.Embed(vocabulary, features, name=next(names))
        case parts.Positions():
            layer = AddPositions(tuple(part), next(names))
        case parts.Attention(heads):
            return attention(heads, x, next(names))
        case parts.MaxPool(window):
            sizes = (1, window, window, 1)
            return hk.max_pool(x, sizes, sizes, "VALID")
        case _:
            raise TypeError(f"there is no layer {part!r}")
    return layer(x)
