"""Layers that rearrange, and any other function of the input."""

import math
from collections.abc import Callable

from funcnn.foundation._checks import as_array
from funcnn.layers.protocol._layer import Layer, constructor
from funcnn.layers.protocol._parameterless import parameterless


@constructor
def Flatten() -> Layer:
    """All axes but the first in one, `(N, ...)` to `(N, features)`."""

    def flatten(x):
        x = as_array("Flatten", "x", x)
        if not x.ndim:
            raise ValueError(f"Flatten needs x of shape (N, ...); got {x.shape}.")
        return x.reshape(x.shape[0], math.prod(x.shape[1:]))

    return parameterless("Flatten", flatten)


@constructor
def Lambda(f: Callable) -> Layer:
    """Any function of the input, as a layer without params.

    Args:
        f: `f(x) -> y`, pure; `x` is whatever pytree comes in.

    Raises:
        TypeError: if `f` cannot be called.
    """
    if not callable(f):
        raise TypeError(f"Lambda needs a function; got {f!r}.")
    return parameterless("Lambda", f)
