"""Features come in; they go out with mean 0 and standard deviation 1."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from funcnn.foundation import _checks
from funcnn.foundation._dtypes import accumulator


def moments(
    x: jax.Array, axis: int | Sequence[int] | None = None
) -> tuple[jax.Array, jax.Array]:
    """Return the mean and the standard deviation of each feature, for `standardize`.

        mean, std = train.moments(images)
        images = train.standardize(images, mean, std)
        test_images = train.standardize(test_images, mean, std)

    Deviations are taken from the first example, which changes neither number and loses
    less to rounding; a feature that is constant has a standard deviation of exactly 0.
    The deviation is that of the examples themselves, their sum of squares divided by
    their number.

    Args:
        x: `(N, ..., C)`, numbers of any real dtype; all are on the device at once.
        axis: the axes to take means over. None means all but the last, so that there is
            one number per channel; and the only one where there is but one.

    Returns:
        Two arrays that broadcast against `x`: axes taken the mean over have length 1, and
        are left out in front, `(C,)` by default. They are float64 for `x` of float64,
        else float32.

    Raises:
        TypeError: if `x` is not an array of real numbers.
        ValueError: if it is empty or has no such axis.
    """
    x = real("moments", x)
    if not x.size or not x.ndim:
        raise ValueError(f"moments needs at least one example; got shape {x.shape}.")
    if axis is None:
        axis = range(max(x.ndim - 1, 1))
    each = axis if isinstance(axis, Sequence) else (axis,)
    axes = tuple(sorted({_checks.axis("moments", a, x) for a in each}))
    first = x[tuple(slice(1) if a in axes else slice(None) for a in range(x.ndim))]
    x = x - first
    mean = x.mean(axes, keepdims=True)
    std = jnp.sqrt(jnp.square(x - mean).mean(axes, keepdims=True))
    in_front = sum(a == i for i, a in enumerate(axes))
    shape = std.shape[in_front:]
    return (first + mean).reshape(shape), std.reshape(shape)


def standardize(x: jax.Array, mean: jax.Array, std: jax.Array) -> jax.Array:
    """Return `(x - mean) / std`, and 0 where `std` is 0.

    A pure function, for a whole data set at once as well as for a batch inside a step:
    images that are kept and sent to the device as bytes take a quarter of the memory.

    Args:
        x: numbers of any real dtype.
        mean: broadcasts against `x`, as what `moments` returns does.
        std: likewise.

    Returns:
        An array of the shape and dtype of `x`, or of float32 where `x` is not
        floating-point.

    Raises:
        TypeError: if one is not an array of real numbers.
        ValueError: if `mean` or `std` do not broadcast to the shape of `x`.
    """
    dtype = jnp.result_type(x)
    x, mean, std = (
        real("standardize", a, name) for name, a in (("x", x), ("mean", mean), ("std", std))
    )
    for name, a in (("mean", mean), ("std", std)):
        try:
            fits = jnp.broadcast_shapes(x.shape, a.shape) == x.shape
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(
                f"standardize needs {name} of a shape that broadcasts to {x.shape}, that "
                f"of x; got {a.shape}."
            )
    mean, std = mean.astype(x.dtype), std.astype(x.dtype)
    constant = std == 0
    y = jnp.where(constant, 0, (x - mean) / jnp.where(constant, 1, std))
    return y.astype(dtype) if jnp.issubdtype(dtype, jnp.floating) else y


def real(function, x, name="x"):
    """Return `x` as an array of at least float32.

    Raises:
        TypeError: if it is not an array of real numbers.
    """
    x = _checks.as_array(function, name, x)
    if jnp.issubdtype(x.dtype, jnp.floating):
        return x.astype(accumulator(x.dtype))
    if not (jnp.issubdtype(x.dtype, jnp.integer) or x.dtype == bool):
        raise TypeError(f"{function} needs {name} of real numbers; got {x.dtype}.")
    return x.astype(jnp.float32)
