"""What networks are made of, told in words that every library can follow.

Convolutions pad by half of an odd kernel on every side and not at all for an even one, so
that JAX and PyTorch mean the same. Norms have the same `EPS` everywhere.
"""

from operator import itemgetter
from typing import NamedTuple

EPS = 1e-6
# Of the params that `with_funcnn.initial` draws for a part.
AFFINE, NORM = itemgetter("weight", "bias"), itemgetter("scale", "offset")


class Conv(NamedTuple):
    """Convolution with a bias."""

    features: int
    kernel: int
    stride: int = 1
    groups: int = 1

    @property
    def padding(self) -> int:
        """On every side."""
        return self.kernel // 2 if self.kernel % 2 else 0


class Dense(NamedTuple):
    """Affine map of the last axis."""

    features: int


class GroupNorm(NamedTuple):
    """Over positions and a group's channels, with scale and offset."""

    groups: int


class LayerNorm(NamedTuple):
    """Over channels, with scale and offset."""


class Embed(NamedTuple):
    """A vector for each integer below `vocabulary`."""

    vocabulary: int
    features: int


class Positions(NamedTuple):
    """Add a learned vector to each of `length` positions."""

    length: int
    features: int


class Attention(NamedTuple):
    """Causal self attention; four products with biases, none of which is dropped."""

    heads: int


class Act(NamedTuple):
    """`relu`, or `gelu` in the tanh approximation."""

    name: str


class MaxPool(NamedTuple):
    """Windows side by side."""

    window: int


class GlobalPool(NamedTuple):
    """The mean over positions."""


class Flatten(NamedTuple):
    """All axes but the first in one, channels last."""


class Residual(NamedTuple):
    """`body(x) + shortcut(x)`; an empty shortcut is the identity."""

    body: tuple
    shortcut: tuple = ()
