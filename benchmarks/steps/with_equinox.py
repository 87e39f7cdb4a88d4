"""A training step in Equinox: modules of one example, under vmap; channels first."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from equinox import nn

from benchmarks.steps import parts
from benchmarks.steps.models import Model
from benchmarks.steps.sequence import ACTIVATIONS
from benchmarks.steps.trainer import Trainer, with_optax

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
        """`(C, height, width)` or `(T, C)` to the same."""
        norm: Callable = self.norm
        if x.ndim == 2:
            return jax.vmap(norm)(x)
        for _ in x.shape[1:]:
            norm = jax.vmap(norm, in_axes=-1, out_axes=-1)
        return norm(x)


class Each(eqx.Module):
    """A layer of one vector or token, for all tokens if there are several."""

    layer: eqx.Module

    def __call__(self, x, *, key=None):
        """`(m,)`, `(T, m)`, or integers `(T,)` to a row for each."""
        several = x.ndim == (1 if isinstance(self.layer, nn.Embedding) else 2)
        return jax.vmap(self.layer)(x) if several else self.layer(x)


class SelfAttention(eqx.Module):
    """Causal attention."""

    attention: nn.MultiheadAttention

    def __init__(self, heads, params):
        size = len(params["query"]["weight"])
        biases = {f"use_{n}_bias": True for n in ("query", "key", "value", "output")}
        empty = nn.MultiheadAttention(heads, size, **biases, key=KEY)
        self.attention = eqx.tree_at(
            lambda m: (m.query_proj, m.key_proj, m.value_proj, m.output_proj),
            empty,
            [linear(params[n]) for n in ("query", "key", "value", "output")],
        )

    def __call__(self, x, *, key=None):
        """`(T, d)` to the same."""
        return self.attention(x, x, x, jnp.tri(len(x), dtype=bool))


class AddPositions(eqx.Module):
    """Learned positions."""

    table: jax.Array

    def __call__(self, x, *, key=None):
        """`(T, d)` to the same."""
        return x + self.table[: len(x)]


def prepare(model: Model, params: list[dict], inputs, labels) -> Trainer:
    """The model with `params`, one dict for each layer that has any, in order."""
    network = sequential(model.layers, iter(params))
    arrays, rest = eqx.partition(network, eqx.is_array)

    def logits(arrays, inputs):
        return jax.vmap(eqx.combine(arrays, rest))(inputs)

    if not model.tokens:
        inputs = np.moveaxis(inputs, -1, 1).copy()
    return with_optax(logits, arrays, (inputs, labels))


def sequential(sequence, params) -> nn.Sequential:
    """Layers one after the other, which take their parameters off an iterator."""
    return nn.Sequential([make(part, params) for part in sequence])


def make(part, params):
    """The layer that is told."""
    match part:
        case parts.Conv(features, kernel, stride, groups):
            weight, bias = parts.AFFINE(next(params))
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
        case parts.Dense():
            return Each(linear(next(params)))
        case parts.GroupNorm(groups):
            scale, offset = parts.NORM(next(params))
            return filled(nn.GroupNorm(groups, len(scale), parts.EPS), scale, offset)
        case parts.LayerNorm():
            scale, offset = parts.NORM(next(params))
            return ChannelNorm(filled(nn.LayerNorm(len(scale), parts.EPS), scale, offset))
        case parts.Embed():
            return Each(nn.Embedding(weight=jnp.asarray(next(params)["table"])))
        case parts.Positions():
            return AddPositions(jnp.asarray(next(params)["table"]))
        case parts.Attention(heads):
            return SelfAttention(heads, next(params))
        case parts.Act(name):
            return nn.Lambda(ACTIVATIONS[name])
        case parts.MaxPool(window):
            return nn.MaxPool2d(window, window)
        case parts.GlobalPool():
            return nn.Lambda(lambda x: x.mean((1, 2)))
        case parts.Flatten():
            return nn.Lambda(lambda x: jnp.moveaxis(x, 0, -1).ravel())
        case parts.Residual(body, shortcut):
            return Sum(sequential(body, params), sequential(shortcut, params))
    raise TypeError(f"there is no layer {part!r}")


def linear(params):
    """An affine map with such parameters."""
    weight, bias = parts.AFFINE(params)
    return filled(nn.Linear(*weight.shape, key=KEY), weight.T, bias)


def filled(layer, weight, bias):
    """The layer with other numbers."""
    assert layer.weight.shape == weight.shape
    assert layer.bias.shape == bias.shape
    new = (jnp.asarray(weight), jnp.asarray(bias))
    return eqx.tree_at(lambda m: (m.weight, m.bias), layer, new)
