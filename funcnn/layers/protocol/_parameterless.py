"""Comes in: a function of an array. Goes out: a layer that has no params."""

from collections.abc import Callable

from funcnn.layers.protocol._layer import Layer
from funcnn.layers.protocol._params import check_params
from funcnn.layers.protocol._shapes import describe


def parameterless(layer: str, f: Callable) -> Layer:
    """A layer that is a function of its input, with `{}` for params."""

    def init(key, shape):
        del key
        describe(layer, shape)
        return {}

    def apply(params, x, *, key=None):
        del key
        check_params(layer, params)
        return f(x)

    return Layer(init, apply)
