"""A training step in PyTorch: eager, its tensors in memory with channels last."""

import os

import numpy as np
import torch
from torch import nn

from benchmarks.steps import parts
from benchmarks.steps.models import Model
from benchmarks.steps.trainer import MOMENTUM, RATE, Trainer


class Sum(nn.Module):
    """A residual block."""

    def __init__(self, body, shortcut):
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x):
        """`(N, C, height, width)` to the body's output."""
        return self.body(x) + self.shortcut(x)


class ChannelNorm(nn.LayerNorm):
    """A layer norm over channels: an image's second axis, which lies last in memory."""

    def forward(self, x):
        """`(N, C, height, width)` or `(N, T, C)` to the same."""
        if x.ndim == 3:
            return super().forward(x)
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class SelfAttention(nn.Module):
    """Causal attention, as PyTorch fuses it."""

    def __init__(self, heads, products):
        super().__init__()
        self.heads, self.products = heads, nn.ModuleList(products)

    def forward(self, x):
        """`(N, T, d)` to the same."""
        *products, output = self.products
        by_head = (p(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in products)
        y = nn.functional.scaled_dot_product_attention(*by_head, is_causal=True)
        return output(y.transpose(1, 2).flatten(2))


class AddPositions(nn.Module):
    """Learned positions."""

    def __init__(self, table):
        super().__init__()
        self.table = nn.Parameter(torch.from_numpy(table.copy()))

    def forward(self, x):
        """`(N, T, d)` to the same."""
        return x + self.table[: x.shape[1]]


class Apply(nn.Module):
    """A function of the input."""

    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, x):
        """What the function says."""
        return self.f(x)


def prepare(model: Model, params: list[dict], inputs, labels) -> Trainer:
    """The model with `params`, one dict for each layer that has any, in order."""
    torch.set_num_threads(os.cpu_count() or 1)
    network = sequential(model.layers, iter(params))
    network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), RATE, MOMENTUM)
    x = torch.from_numpy(np.array(inputs))
    if not model.tokens:
        x = x.movedim(-1, 1).contiguous(memory_format=torch.channels_last)

    def step(state, batch):
        x, labels = batch
        optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(network(x).flatten(0, -2), labels)
        loss.backward()
        optimizer.step()
        return state, loss.detach()

    return Trainer(step, None, (x, torch.from_numpy(np.array(labels, np.int64).ravel())))


def sequential(sequence, params) -> nn.Sequential:
    """Layers one after the other, which take their parameters off an iterator."""
    return nn.Sequential(*(make(part, params) for part in sequence))


def make(part, params):
    """The layer that is told."""
    match part:
        case parts.Conv(features, kernel, stride, groups):
            weight, bias = parts.AFFINE(next(params))
            inputs = weight.shape[-2] * groups
            layer = nn.Conv2d(inputs, features, kernel, stride, part.padding, groups=groups)
            return filled(layer, weight.transpose(3, 2, 0, 1), bias)
        case parts.Dense():
            return linear(next(params))
        case parts.GroupNorm(groups):
            scale, offset = parts.NORM(next(params))
            return filled(nn.GroupNorm(groups, len(scale), parts.EPS), scale, offset)
        case parts.LayerNorm():
            scale, offset = parts.NORM(next(params))
            return filled(ChannelNorm(len(scale), parts.EPS), scale, offset)
        case parts.Embed():
            table = torch.from_numpy(next(params)["table"].copy())
            return nn.Embedding.from_pretrained(table, freeze=False)
        case parts.Positions():
            return AddPositions(next(params)["table"])
        case parts.Attention(heads):
            own = next(params)
            products = (linear(own[n]) for n in ("query", "key", "value", "output"))
            return SelfAttention(heads, products)
        case parts.Act(name):
            return nn.GELU("tanh") if name == "gelu" else nn.ReLU()
        case parts.MaxPool(window):
            return nn.MaxPool2d(window)
        case parts.GlobalPool():
            return Apply(lambda x: x.mean((2, 3)))
        case parts.Flatten():
            return Apply(lambda x: x.movedim(1, -1).flatten(1))
        case parts.Residual(body, shortcut):
            return Sum(sequential(body, params), sequential(shortcut, params))
    raise TypeError(f"there is no layer {part!r}")


def linear(params):
    """An affine map with such parameters."""
    weight, bias = parts.AFFINE(params)
    return filled(nn.Linear(*weight.shape), weight.T, bias)


def filled(layer, weight, bias):
    """The layer with other numbers."""
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight.copy()))
        layer.bias.copy_(torch.from_numpy(bias.copy()))
    return layer
