"""Layers: pairs of pure functions, `init(key, shape)` and `apply(params, x, *, key)`.

    model = layers.Serial(
        layers.Conv(16, 3), layers.Relu(), layers.MaxPool(2), layers.Flatten(),
        layers.Dropout(0.5), layers.Dense(10),
    )
    params = model.init(key, (1, 28, 28, 1))
    logits = model.apply(params, images)

`shape` is the input's, its batch axis included: a tuple of ints, for float32, or
anything with `.shape` and `.dtype`, or a pytree of those for a layer with several
inputs. Params have the dtype of a floating-point input, else float32; a layer without
any has `{}`. A `key` feeds randomness, such as dropout's; without one, `apply` is
deterministic.
"""

# ruff: noqa: I001 - by room, from the inside out

# What a layer is. Any two functions that do what it says will do.
from funcnn.layers.protocol._layer import Layer as Layer

# Of layers: in turn, with their input added, repeated, recomputed, in another dtype.
from funcnn.layers.combinators._cast import Cast as Cast
from funcnn.layers.combinators._remat import Remat as Remat
from funcnn.layers.combinators._serial import Residual as Residual
from funcnn.layers.combinators._serial import Serial as Serial
from funcnn.layers.combinators._stack import Stack as Stack

# Dense and gated maps, activations, norms, dropout, shapes, and any function.
from funcnn.layers.basic._activations import Elu as Elu
from funcnn.layers.basic._activations import Gelu as Gelu
from funcnn.layers.basic._activations import LeakyRelu as LeakyRelu
from funcnn.layers.basic._activations import LogSoftmax as LogSoftmax
from funcnn.layers.basic._activations import Relu as Relu
from funcnn.layers.basic._activations import Sigmoid as Sigmoid
from funcnn.layers.basic._activations import Silu as Silu
from funcnn.layers.basic._activations import Softmax as Softmax
from funcnn.layers.basic._activations import Softplus as Softplus
from funcnn.layers.basic._activations import Tanh as Tanh
from funcnn.layers.basic._dense import Dense as Dense
from funcnn.layers.basic._dropout import Dropout as Dropout
from funcnn.layers.basic._gated import GeGLU as GeGLU
from funcnn.layers.basic._gated import SwiGLU as SwiGLU
from funcnn.layers.basic._norm import GroupNorm as GroupNorm
from funcnn.layers.basic._norm import LayerNorm as LayerNorm
from funcnn.layers.basic._norm import RMSNorm as RMSNorm
from funcnn.layers.basic._shape import Flatten as Flatten
from funcnn.layers.basic._shape import Lambda as Lambda

# Over images: convolutions, transposed and separable ones, and pools.
from funcnn.layers.convolution._conv import Conv as Conv
from funcnn.layers.convolution._conv_transpose import ConvTranspose as ConvTranspose
from funcnn.layers.convolution._pooling import AvgPool as AvgPool
from funcnn.layers.convolution._pooling import GlobalAvgPool as GlobalAvgPool
from funcnn.layers.convolution._pooling import GlobalMaxPool as GlobalMaxPool
from funcnn.layers.convolution._pooling import MaxPool as MaxPool
from funcnn.layers.convolution._separable import DepthwiseConv as DepthwiseConv
from funcnn.layers.convolution._separable import SeparableConv as SeparableConv

# Over sequences: attention and its cache, embeddings, transformers.
from funcnn.layers.attention._attention import MultiHeadAttention as MultiHeadAttention
from funcnn.layers.attention._cache import Cache as Cache
from funcnn.layers.attention._embed import Embed as Embed
from funcnn.layers.attention._embed import PositionalEmbedding as PositionalEmbedding
from funcnn.layers.attention._transformer import Transformer as Transformer
from funcnn.layers.attention._transformer import head_weight as head_weight
from funcnn.layers.attention._transformer_block import TransformerBlock as TransformerBlock
