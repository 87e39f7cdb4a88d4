"""Dropout as a layer."""

import jax

from funcnn import ops
from funcnn.foundation._checks import number
from funcnn.layers.protocol._layer import Layer, constructor
from funcnn.layers.protocol._params import check_params
from funcnn.layers.protocol._shapes import describe


@constructor
def Dropout(rate: float | jax.Array) -> Layer:
    """Drop elements at random when given a key; the identity without one.

    What is kept is scaled by `1 / (1 - rate)`, so that the mean stays.

    Args:
        rate: the share to drop, in [0, 1]. It may be traced, and then is not checked.

    Raises:
        TypeError: if `rate` is not a number.
        ValueError: if it is outside [0, 1].
    """
    if not isinstance(rate, jax.core.Tracer):
        number("Dropout", "rate", rate, low=0.0, high=1.0)

    def init(key, shape):
        del key
        describe("Dropout", shape)
        return {}

    def apply(params, x, *, key=None):
        check_params("Dropout", params)
        return x if key is None else ops.dropout(key, x, rate)

    return Layer(init, apply)
