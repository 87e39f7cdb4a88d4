"""Elementwise functions, and softmax, as layers."""

from functools import partial

from funcnn import ops
from funcnn.layers.protocol._layer import Layer, constructor
from funcnn.layers.protocol._parameterless import parameterless


@constructor
def Relu() -> Layer:
    """`max(x, 0)`."""
    return parameterless("Relu", ops.relu)


@constructor
def LeakyRelu(negative_slope: float = 0.01) -> Layer:
    """`x` where positive and `negative_slope * x` elsewhere."""
    return parameterless(
        "LeakyRelu", partial(ops.leaky_relu, negative_slope=negative_slope)
    )


@constructor
def Elu(alpha: float = 1.0) -> Layer:
    """`x` where positive and `alpha * (exp(x) - 1)` elsewhere."""
    return parameterless("Elu", partial(ops.elu, alpha=alpha))


@constructor
def Sigmoid() -> Layer:
    """`1 / (1 + exp(-x))`."""
    return parameterless("Sigmoid", ops.sigmoid)


@constructor
def Tanh() -> Layer:
    """The hyperbolic tangent."""
    return parameterless("Tanh", ops.tanh)


@constructor
def Silu() -> Layer:
    """`x * sigmoid(x)`."""
    return parameterless("Silu", ops.silu)


@constructor
def Gelu(approximate: bool = True) -> Layer:
    """`x * Phi(x)`, by default in the tanh approximation."""
    return parameterless("Gelu", partial(ops.gelu, approximate=approximate))


@constructor
def Softplus() -> Layer:
    """`log(1 + exp(x))`."""
    return parameterless("Softplus", ops.softplus)


@constructor
def Softmax(axis: int = -1) -> Layer:
    """Probabilities along `axis`.

    A model to be trained on cross entropy is better off without: see
    `losses.softmax_cross_entropy`, which takes logits.
    """
    return parameterless("Softmax", partial(ops.softmax, axis=axis))


@constructor
def LogSoftmax(axis: int = -1) -> Layer:
    """Logarithms of probabilities along `axis`."""
    return parameterless("LogSoftmax", partial(ops.log_softmax, axis=axis))
