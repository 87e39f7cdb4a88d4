"""A training step in Equinox: modules of one image, channels first, under vmap."""

from collections.abc import Callable
from operator import itemgetter

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from equinox import nn

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

AFFINE, NORM = itemgetter("weight", "bias"), itemgetter("scale", "offset")
KEY = jax.random.key(0)  # for numbers that are replaced


class Sum(eqx.Module):
    """A residual block."""

    body: nn.Sequential
    shortcut: nn.Sequential

    def __call__(self, x, *, key=None):
        """`(C, height, width)` to the body's output."""
        return self.body(x) + self.shortcut(x)


class ChannelNorm(eqx.Module):
    """A layer norm at each position, if there are positions."""

    norm: nn.LayerNorm

    def __call__(self, x, *, key=None):
        """`(C, ...)` to the same."""
        norm: Callable = self.norm
        for _ in x.shape[1:]:
            norm = jax.vmap(norm, in_axes=-1, out_axes=-1)
        return norm(x)


def prepare(model: Model, params: list[dict], images, labels) -> Trainer:
    """The model with `params`, one dict for each layer that has any, in order."""
    network = sequential(model.layers, iter(params))
    arrays, rest = eqx.partition(network, eqx.is_array)

    def logits(arrays, images):
        return jax.vmap(eqx.combine(arrays, rest))(images)

    return with_optax(logits, arrays, (np.moveaxis(images, -1, 1).copy(), labels))


def sequential(parts, params) -> nn.Sequential:
    """Layers one after the other, which take their parameters off an iterator."""
    return nn.Sequential([make(part, params) for part in parts])


def make(part, params):
    """The layer that is told."""
    match part:
        case Conv(features, kernel, stride, groups):
            weight, bias = AFFINE(next(params))
            layer = nn.Conv2d(
                weight.shape[-2] * groups,
                features,
                kernel,
                stride,
                part.padding,
                groups=groups,
                key=KEY,
            )
            return filled(layer, weight.transpose(3, 2, 0, 1), bias[:, None, None])
        case Dense(features):
            weight, bias = AFFINE(next(params))
            return filled(nn.Linear(len(weight), features, key=KEY), weight.T, bias)
        case GroupNorm(groups):
            scale, offset = NORM(next(params))
            return filled(nn.GroupNorm(groups, len(scale), EPS), scale, offset)
        case LayerNorm():
            scale, offset = NORM(next(params))
            return ChannelNorm(filled(nn.LayerNorm(len(scale), EPS), scale, offset))
        case Act(name):
            return nn.Lambda({"relu": jax.nn.relu, "gelu": jax.nn.gelu}[name])
        case MaxPool(window):
            return nn.MaxPool2d(window, window)
        case GlobalPool():
            return nn.Lambda(lambda x: x.mean((1, 2)))
        case Flatten():
            return nn.Lambda(lambda x: jnp.moveaxis(x, 0, -1).ravel())
        case Residual(body, shortcut):
            return Sum(sequential(body, params), sequential(shortcut, params))
    raise TypeError(f"there is no layer {part!r}")


def filled(layer, weight, bias):
    """The layer with other numbers."""
    assert layer.weight.shape == weight.shape
    assert layer.bias.shape == bias.shape
    new = (jnp.asarray(weight), jnp.asarray(bias))
    return eqx.tree_at(lambda m: (m.weight, m.bias), layer, new)
