r"""Patches of an image as the rows of a matrix ("image to column").

**Forward.** Row $(n, i)$ holds the window at output position $i$, its elements in
row-major order of kernel offset $k$ and then channel $c$:

$$y[n, i, (k, c)] = x[n,\ s i + d k - l,\ c],$$

so that convolution is one matrix product, `im2col(x) @ weight.reshape(-1, O)`
(Chellapilla, Puri & Simard, 2006).

**Backward.** Each element of $y$ copies one element of $x$, or a zero of the padding. The
transpose adds every copy's cotangent to its origin, which is `col2im`:

$$\bar x[n, p, c] = \sum_{(i, k):\ s i + d k - l = p} \bar y[n, i, (k, c)].$$

**Residuals.** None: the map is linear. Only the shape and dtype of $x$ are remembered.
"""

from functools import partial

import jax
import jax.numpy as jnp

from funcnn.foundation._checks import float_arrays
from funcnn.foundation._cotangents import Like
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._dtypes import upcast
from funcnn.kernels._taps import MANY, put_taps, stacked_taps, take_taps, unstacked_taps
from funcnn.kernels._windows import spatial_rank, window_size, windows


@partial(custom_vjp, nondiff_argnums=(1, 2, 3, 4))
def im2col(x: jax.Array, kernel_size, stride=1, padding="SAME", dilation=1) -> jax.Array:
    """Lay the windows of images out as rows.

    Args:
        x: shape `(N, *spatial, C)` with 1, 2 or 3 spatial axes.
        kernel_size: an int, or one per spatial axis.
        stride: an int, or one per spatial axis.
        padding: "SAME", "VALID", an int, or one (low, high) pair per spatial axis.
        dilation: an int, or one per spatial axis.

    Returns:
        Shape `(N, *out, prod(kernel) * C)` and dtype of `x`.

    Raises:
        TypeError: if `x` is not floating-point or a number not an integer.
        ValueError: if the shape of `x` and the windows do not fit.
    """
    return im2col_fwd(x, kernel_size, stride, padding, dilation)[0]


def im2col_fwd(x, kernel_size, stride, padding, dilation):
    (x,) = float_arrays("im2col", x=x)
    spatial_rank("im2col", x.shape)
    w = windows("im2col", x.shape[1:-1], kernel_size, stride, padding, dilation)
    return as_rows(x, w), Like.of(x)


def im2col_bwd(kernel_size, stride, padding, dilation, x, dy):
    w = windows("im2col", x.shape[1:-1], kernel_size, stride, padding, dilation)
    return (from_rows(dy, w).astype(x.dtype),)


im2col.defvjp(im2col_fwd, im2col_bwd)


def as_rows(x, w):
    """Windows as rows."""
    if window_size(w) <= MANY:
        return jnp.concatenate(take_taps(x, w), -1)
    return stacked_taps(x, w).reshape(x.shape[0], *w.out, window_size(w) * x.shape[-1])


def from_rows(cols, w):
    """Rows added up where they came from, in at least float32."""
    taps, cols = window_size(w), upcast(cols)
    if taps <= MANY:
        return put_taps(jnp.split(cols, taps, axis=-1), w)
    return unstacked_taps(cols.reshape(*cols.shape[:-1], taps, cols.shape[-1] // taps), w)


def im2col_reference(x, kernel_size, stride=1, padding="SAME", dilation=1):
    """The definition, left to `jax.grad`: one index array an axis."""
    w = windows("im2col", x.shape[1:-1], kernel_size, stride, padding, dilation)
    x = jnp.pad(x, ((0, 0), *w.padding, (0, 0)))
    rank = len(w.size)
    index = []
    for axis in range(rank):
        i, k = jnp.arange(w.out[axis]), jnp.arange(w.kernel[axis])
        reads = w.stride[axis] * i[:, None] + w.dilation[axis] * k
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = w.out[axis], w.kernel[axis]
        index.append(reads.reshape(shape))
    return x[:, *index].reshape(x.shape[0], *w.out, window_size(w) * x.shape[-1])


def im2col_cases(rng):
    """Arguments on which every claim is tested."""
    image = rng.standard_normal((2, 5, 4, 3))
    return {
        "3x3": (image, 3),
        "1x1": (image, 1),
        "stride, VALID": (image, (2, 3), (2, 1), "VALID"),
        "stride over kernel": (image, 1, 3),
        "dilation": (image, 2, 1, "SAME", (2, 3)),
        "one sided padding": (image, 2, 2, ((2, 0), (0, 1))),
        "1 axis": (rng.standard_normal((2, 7, 2)), 4, 2),
        "3 axes": (rng.standard_normal((1, 3, 4, 3, 2)), 2, 2),
        "empty batch": (rng.standard_normal((0, 4, 4, 2)), 3),
    }
