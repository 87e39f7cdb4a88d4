"""The networks that are trained, for all libraries: parts in order, and a batch's shape."""

from collections.abc import Callable
from typing import NamedTuple

from benchmarks.steps.parts import (
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
    Positions,
    Residual,
)


class Model(NamedTuple):
    """A network, and the shape of its batch.

    That is `(N, height, width, channels)` for images, each of which has a class, and
    `(N, T)` for tokens, each of which has one. The last layer is `Dense`.
    """

    layers: tuple
    shape: tuple[int, ...]
    classes: int = 10

    @property
    def tokens(self) -> bool:
        """Whether the network reads integers below `classes`."""
        return len(self.shape) == 2

    @property
    def dtype(self) -> str:
        """Of the batch."""
        return "int32" if self.tokens else "float32"

    @property
    def labels(self) -> tuple[int, ...]:
        """The shape of the labels."""
        return self.shape if self.tokens else self.shape[:1]

    @property
    def spec(self) -> str:
        """The batch, as it is told."""
        return f"batch {','.join(map(str, self.shape))}"


RELU = Act("relu")


def mlp(width: int = 512, size: int = 28, batch: int = 128) -> Model:
    """Three layers."""
    hidden = Dense(width), RELU, Dense(width), RELU
    return Model((Flatten(), *hidden, Dense(10)), (batch, size, size, 1))


def cnn(width: int = 16, size: int = 28, batch: int = 128) -> Model:
    """Like LeNet-5: two convolutions, each with a pool, and three dense layers."""
    features = [part for n in (width, 2 * width) for part in (Conv(n, 5), RELU, MaxPool(2))]
    head = Flatten(), Dense(120), RELU, Dense(84), RELU, Dense(10)
    return Model((*features, *head), (batch, size, size, 1))


def resnet18(width: int = 64, size: int = 32, batch: int = 8) -> Model:
    """ResNet-18 for small images, with group norms for batch norms."""
    norm = GroupNorm(width // 2)
    layers: list = [Conv(width, 3), norm, RELU]
    for stage in range(4):
        n = width << stage
        for i in range(2):
            stride = 2 if stage and not i else 1
            body = Conv(n, 3, stride), norm, RELU, Conv(n, 3), norm
            shortcut = (Conv(n, 1, stride), norm) if stride > 1 else ()
            layers += [Residual(body, shortcut), RELU]
    return Model((*layers, GlobalPool(), Dense(10)), (batch, size, size, 3))


def mobilenetv2(width: int = 8, size: int = 32, batch: int = 8) -> Model:
    """Inverted residuals as in MobileNetV2, fewer of them, with group norms.

    The channels are multiples of `width`; 8 gives those of the paper.
    """
    norm = GroupNorm(width)
    layers: list = [Conv(4 * width, 3), norm, RELU]
    channels = 4
    blocks = (1, 2, 1, 1), (6, 3, 2, 1), (6, 4, 2, 2), (6, 8, 2, 2), (6, 12, 1, 1)
    for expansion, n, repeats, stride in blocks:
        for i in range(repeats):
            inner = expansion * channels * width
            step = stride if i == 0 else 1
            body = (
                *((Conv(inner, 1), norm, RELU) if expansion > 1 else ()),
                *(Conv(inner, 3, step, inner), norm, RELU),
                *(Conv(n * width, 1), norm),
            )
            layers += [Residual(body)] if channels == n and step == 1 else body
            channels = n
    head = Conv(40 * width, 1), norm, RELU, GlobalPool(), Dense(10)
    return Model((*layers, *head), (batch, size, size, 3))


def convnext(width: int = 64, size: int = 64, batch: int = 16) -> Model:
    """Patches, then three stages of two ConvNeXt blocks, without layer scale."""
    layers: list = [Conv(width, 4, 4), LayerNorm()]
    for stage in range(3):
        n = width << stage
        if stage:
            layers += [LayerNorm(), Conv(n, 2, 2)]
        spread = Conv(n, 7, 1, n), LayerNorm()
        mix = Conv(4 * n, 1), Act("gelu"), Conv(n, 1)
        layers += [Residual((*spread, *mix))] * 2
    return Model((*layers, GlobalPool(), LayerNorm(), Dense(10)), (batch, size, size, 3))


def transformer(
    width: int = 256,
    heads: int = 4,
    depth: int = 4,
    length: int = 256,
    batch: int = 8,
    vocabulary: int = 8192,
) -> Model:
    """A small GPT-2: blocks with norms before attention and MLP, and a head of its own."""
    mlp = Dense(4 * width), Act("gelu"), Dense(width)
    block = Residual((LayerNorm(), Attention(heads))), Residual((LayerNorm(), *mlp))
    first = Embed(vocabulary, width), Positions(length, width)
    last = LayerNorm(), Dense(vocabulary)
    return Model((*first, *block * depth, *last), (batch, length), vocabulary)


MODELS: dict[str, Callable[..., Model]] = {
    f.__name__: f for f in (mlp, cnn, resnet18, mobilenetv2, convnext, transformer)
}
