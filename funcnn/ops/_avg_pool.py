r"""Mean over sliding windows.

**Forward.** With $K$ window taps $k$, stride $s$, and $x = 0$ outside the image,

$$y[n, i, c] = \frac 1K \sum_k x[n,\ s i + k - l,\ c].$$

The divisor is the window's size everywhere, padding counted; or, if padding is not to
count, $K_i$, the number of the image's elements that window $i$ has.

**Backward.** The map is linear; its transpose hands each element of $\bar y$ in equal
shares to the elements of its window:

$$\bar x[n, p, c] = \sum_{(i, k):\ s i + k - l = p} \frac 1{K_i}\,\bar y[n, i, c].$$

**Speed.** Windows that tile the image are sums over axes, and their shares repetitions.
Those that overlap are summed from shifted images on a CPU, and shares by shifting $\bar y$,
with zeros between its elements, along one axis after another.

**Residuals.** None. Only the shape and dtype of $x$ are remembered.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from funcnn.foundation._checks import boolean, float_arrays
from funcnn.foundation._cotangents import Like
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._dtypes import divisor, upcast
from funcnn.foundation._mesh import by_device
from funcnn.kernels._pooling import spread, window_sums
from funcnn.kernels._windows import pool_windows, window_size


@partial(custom_vjp, nondiff_argnums=(1, 2, 3, 4))
def avg_pool(
    x: jax.Array, window, stride=None, padding="VALID", count_include_pad: bool = True
) -> jax.Array:
    """Take the mean of each window.

    Args:
        x: shape `(N, *spatial, C)` with 1, 2 or 3 spatial axes.
        window: an int, or one per spatial axis.
        stride: an int, or one per spatial axis; None means `window`.
        padding: "SAME", "VALID", an int, or one (low, high) pair per spatial axis,
            smaller than the window. Padding counts as zeros.
        count_include_pad: whether padding counts in the divisor, as in Flax and PyTorch
            by default; if not, means are over the image's own elements.

    Returns:
        Shape `(N, *out, C)` and dtype of `x`; sums are taken in at least float32.

    Raises:
        TypeError: if `x` is not floating-point, a number not an integer, or
            `count_include_pad` not a bool.
        ValueError: if the shape of `x` and the windows do not fit.
    """
    return avg_pool_fwd(x, window, stride, padding, count_include_pad)[0]


def avg_pool_fwd(x, window, stride, padding, count_include_pad):
    (x,) = float_arrays("avg_pool", x=x)
    boolean("avg_pool", "count_include_pad", count_include_pad)
    w = pool_windows("avg_pool", x.shape, window, stride, padding)

    def local(x):
        sums = window_sums(upcast(x), w)
        return (sums / counts(w, count_include_pad, sums.dtype)).astype(x.dtype)

    return by_device(local, (x,))(x), Like.of(x)


def avg_pool_bwd(window, stride, padding, count_include_pad, x, dy):
    w = pool_windows("avg_pool", x.shape, window, stride, padding)

    def local(dy):
        dyf = upcast(dy)
        shares = dyf / counts(w, count_include_pad, dyf.dtype)
        return spread(shares, w).astype(x.dtype)

    return (by_device(local, (dy,))(dy),)


avg_pool.defvjp(avg_pool_fwd, avg_pool_bwd)


def counts(w, count_include_pad, dtype):
    """How many elements a window has: a number, or one for each, `(*out, 1)`."""
    if count_include_pad or not any(map(any, w.padding)):
        return divisor(window_size(w))
    found = np.ones((1,) * (len(w.size) + 1))
    for axis, n in enumerate(w.size):
        first = w.stride[axis] * np.arange(w.out[axis]) - w.padding[axis][0]
        inside = np.minimum(first + w.kernel[axis], n) - np.maximum(first, 0)
        shape = [1] * found.ndim
        shape[axis] = -1
        found = found * inside.reshape(shape)
    return jnp.asarray(found, dtype)


def avg_pool_reference(
    x, window, stride=None, padding="VALID", count_include_pad=True
):  # fmt: skip
    """The definition, left to `jax.grad`."""
    w = pool_windows("avg_pool", x.shape, window, stride, padding)
    edges = ((0, 0), *w.padding, (0, 0))
    dims, strides = (1, *w.kernel, 1), (1, *w.stride, 1)
    over = jax.lax.add, dims, strides, "VALID"
    total = jax.lax.reduce_window(jnp.pad(x, edges), 0.0, *over)
    if count_include_pad:
        return total / window_size(w)
    return total / jax.lax.reduce_window(jnp.pad(jnp.ones_like(x), edges), 0.0, *over)


def avg_pool_cases(rng):
    """Arguments on which every claim is tested."""
    image = rng.standard_normal((2, 5, 6, 3))
    return {
        "2x2": (image, 2),
        "overlapping, SAME": (image, 3, 2, "SAME"),
        "stride over window": (image, (2, 1), (3, 2)),
        "padding": (image, 3, (1, 2), ((1, 0), (2, 1))),
        "padding not counted": (image, 3, (1, 2), ((1, 0), (2, 1)), False),
        "1 axis": (rng.standard_normal((2, 9, 2)), 3, 2),
        "3 axes": (rng.standard_normal((1, 4, 4, 3, 2)), (2, 2, 1)),
        "window 1": (image, 1),
        "whole image": (image, (5, 6)),
        "empty batch": (rng.standard_normal((0, 4, 4, 2)), 2),
    }
