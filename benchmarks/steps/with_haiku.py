"""A training step in Haiku."""

import itertools

import haiku as hk
import jax

from benchmarks.steps.models import (
    EPS,
    Act,
    Conv,
    Dense,
    Flatten,
    GlobalPool,
    GroupNorm,
    LayerNorm,
    MaxPool,
    Model,
    Residual,
)
from benchmarks.steps.trainer import Trainer, with_optax

NAMES = {"weight": "w", "bias": "b", "scale": "scale", "offset": "offset"}


def prepare(model: Model, params: list[dict], images, labels) -> Trainer:
    """The model with `params`, one dict for each layer that has any, in order."""

    def forward(x):
        return run(model.layers, x, (f"layer{i}" for i in itertools.count()))

    network = hk.without_apply_rng(hk.transform(forward))
    theirs = {
        f"layer{i}": {NAMES[name]: a for name, a in layer.items()}
        for i, layer in enumerate(params)
    }
    return with_optax(network.apply, theirs, (images, labels))


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
