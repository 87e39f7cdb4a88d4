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

from funcnn.layers._activations import Elu as Elu
from funcnn.layers._activations import Gelu as Gelu
from funcnn.layers._activations import LeakyRelu as LeakyRelu
from funcnn.layers._activations import LogSoftmax as LogSoftmax
from funcnn.layers._activations import Relu as Relu
from funcnn.layers._activations import Sigmoid as Sigmoid
from funcnn.layers._activations import Silu as Silu
from funcnn.layers._activations import Softmax as Softmax
from funcnn.layers._activations import Softplus as Softplus
from funcnn.layers._activations import Tanh as Tanh
from funcnn.layers._attention import MultiHeadAttention as MultiHeadAttention
from funcnn.layers._cache import Cache as Cache
from funcnn.layers._cast import Cast as Cast
from funcnn.layers._combinators import Residual as Residual
from funcnn.layers._combinators import Serial as Serial
from funcnn.layers._conv import Conv as Conv
from funcnn.layers._conv_transpose import ConvTranspose as ConvTranspose
from funcnn.layers._dense import Dense as Dense
from funcnn.layers._dropout import Dropout as Dropout
from funcnn.layers._embed import Embed as Embed
from funcnn.layers._embed import PositionalEmbedding as PositionalEmbedding
from funcnn.layers._gated import GeGLU as GeGLU
from funcnn.layers._gated import SwiGLU as SwiGLU
from funcnn.layers._layer import Layer as Layer
from funcnn.layers._norm import GroupNorm as GroupNorm
from funcnn.layers._norm import LayerNorm as LayerNorm
from funcnn.layers._norm import RMSNorm as RMSNorm
from funcnn.layers._pooling import AvgPool as AvgPool
from funcnn.layers._pooling import GlobalAvgPool as GlobalAvgPool
from funcnn.layers._pooling import MaxPool as MaxPool
from funcnn.layers._remat import Remat as Remat
from funcnn.layers._separable import DepthwiseConv as DepthwiseConv
from funcnn.layers._separable import SeparableConv as SeparableConv
from funcnn.layers._shape import Flatten as Flatten
from funcnn.layers._shape import Lambda as Lambda
from funcnn.layers._stack import Stack as Stack
from funcnn.layers._transformer import Transformer as Transformer
from funcnn.layers._transformer import head_weight as head_weight
from funcnn.layers._transformer_block import TransformerBlock as TransformerBlock
