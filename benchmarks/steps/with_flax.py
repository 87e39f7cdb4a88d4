"""A training step in Flax: Linen, whose modules cost nothing once jitted."""

import itertools

from flax import linen as nn

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

NAMES = {"weight": "kernel", "bias": "bias", "scale": "scale", "offset": "bias"}


class Network(nn.Module):
    """The parts, with parameters named by their position among those that have any."""

    parts: tuple

    @nn.compact
    def __call__(self, x):
        """`(N, height, width, channels)` to `(N, classes)`."""
        return run(self.parts, x, map(str, itertools.count()))


def prepare(model: Model, params: list[dict], images, labels) -> Trainer:
    """The model with `params`, one dict for each layer that has any, in order."""
    network = Network(model.layers)
    theirs = {
        str(i): {NAMES[name]: a for name, a in layer.items()}
        for i, layer in enumerate(params)
    }

    def logits(params, images):
        return network.apply({"params": params}, images)

    return with_optax(logits, theirs, (images, labels))


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
