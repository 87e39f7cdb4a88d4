"""Comes in: an activation, and a width. Goes out: the perceptron of a block."""

from collections.abc import Callable
from typing import Any

from funcnn.foundation._checks import integer
from funcnn.layers.basic._activations import Gelu, Relu, Silu
from funcnn.layers.basic._dense import Dense
from funcnn.layers.basic._gated import GeGLU, SwiGLU
from funcnn.layers.combinators._serial import Serial
from funcnn.layers.protocol._layer import Layer

ACTIVATIONS: dict[Any, Callable[..., Layer]] = {"gelu": Gelu, "relu": Relu, "silu": Silu}
GATED: dict[Any, Callable[..., Layer]] = {"swiglu": SwiGLU, "geglu": GeGLU}


def perceptron(layer: str, hidden, activation, products) -> Callable[[int], Layer]:
    """A function that gives a perceptron from so many features to as many.

    Args:
        layer: for errors.
        hidden: the width inside, 4 times the features if None.
        activation: a layer, or the name of one, perhaps a gated one.
        products: further arguments of its dense layers.

    Raises:
        TypeError: if `hidden` is no integer.
        ValueError: if it is less than 1, or there is no such activation.
    """
    if hidden is not None:
        hidden = integer(layer, "hidden", hidden, minimum=1)
    known = [*ACTIVATIONS, *GATED]
    if not isinstance(activation, Layer) and activation not in known:
        raise ValueError(
            f"{layer} needs an activation that is a layer or one of {', '.join(known)}; "
            f"got {activation!r}."
        )

    def of(features):
        width = hidden or 4 * features
        output = Dense(features, **products)
        if activation in GATED:
            return Serial(hidden=GATED[activation](width, **products), output=output)
        act = activation if isinstance(activation, Layer) else ACTIVATIONS[activation]()
        return Serial(hidden=Dense(width, **products), activation=act, output=output)

    return of
