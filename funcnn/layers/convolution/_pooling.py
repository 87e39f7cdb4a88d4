"""Pooling layers over `(N, *spatial, C)`."""

from functools import partial

from funcnn import ops
from funcnn.foundation._checks import float_arrays
from funcnn.layers.protocol._layer import Layer, constructor
from funcnn.layers.protocol._parameterless import parameterless


@constructor
def MaxPool(window, stride=None, padding="VALID") -> Layer:
    """The maximum of each window, `(N, *spatial, C)` to `(N, *out, C)`.

    Args:
        window: an int, or one per spatial axis.
        stride: likewise; None means `window`.
        padding: "SAME", "VALID", an int, or one (low, high) pair per spatial axis;
            it never wins.
    """
    pool = partial(ops.max_pool, window=window, stride=stride, padding=padding)
    return parameterless("MaxPool", pool)


@constructor
def AvgPool(window, stride=None, padding="VALID", count_include_pad: bool = True) -> Layer:
    """The mean of each window, `(N, *spatial, C)` to `(N, *out, C)`.

    Args:
        window: an int, or one per spatial axis.
        stride: likewise; None means `window`.
        padding: "SAME", "VALID", an int, or one (low, high) pair per spatial axis;
            it counts as zeros.
        count_include_pad: whether padding counts in the divisor.
    """
    pool = partial(
        ops.avg_pool, window=window, stride=stride, padding=padding,
        count_include_pad=count_include_pad,
    )  # fmt: skip
    return parameterless("AvgPool", pool)


@constructor
def GlobalAvgPool() -> Layer:
    """The mean over all spatial axes, `(N, *spatial, C)` to `(N, C)`.

    Sums are taken in at least float32.
    """

    def pool(x):
        (x,) = float_arrays("GlobalAvgPool", x=x)
        y = ops.avg_pool(x, x.shape[1:-1])
        return y.reshape(y.shape[0], y.shape[-1])

    return parameterless("GlobalAvgPool", pool)


@constructor
def GlobalMaxPool() -> Layer:
    """The maximum over all spatial axes, `(N, *spatial, C)` to `(N, C)`.

    Of equal ones the first gets the gradient.
    """

    def pool(x):
        (x,) = float_arrays("GlobalMaxPool", x=x)
        y = ops.max_pool(x, x.shape[1:-1])
        return y.reshape(y.shape[0], y.shape[-1])

    return parameterless("GlobalMaxPool", pool)
