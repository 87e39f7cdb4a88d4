r"""Convolution as matrix products.

A window, read row by row, is a vector of $K C$ numbers (`im2col`); with all windows as
rows of a matrix $P$ and the kernel as a matrix $W$ of $K C$ rows, $Y = P W$, so
$\bar W = P^\top \bar Y$. With one tap and stride 1, $P$ is the input. Otherwise it is as
long as $K$ inputs, so unless that is little it is made an image at a time, to stay in the
cache.
Conversely $\bar P = \bar Y W^\top$ holds each window's share of the input's cotangent,
which shifted adds put together: worth while when windows have few channels.
With groups there is one product a group.
"""

import math

import jax
import jax.numpy as jnp

from funcnn.foundation._dtypes import accumulator, promote
from funcnn.foundation._products import contract, empty_sum, matrix, rows
from funcnn.kernels._taps import MANY, put_taps, stacked_taps, take_taps, unstacked_taps
from funcnn.kernels._windows import Windows, window_size
from funcnn.kernels.convolution._geometry import padded


def convolve(x, weight, w: Windows, groups):
    """One product: a kernel of one tap."""
    return _product(_only_tap(x, w), weight.reshape(weight.shape[-2:]), groups)


def convolve_windows(x, weight, w: Windows, groups):
    """One product, of all windows with the kernel."""
    x, w = padded(x, w)
    return _product(_patches(x, w, groups), matrix(weight), groups)


def convolve_patches(x, weight, w: Windows, groups):
    """A product an image, of all its windows with the kernel."""
    x, w = padded(x, w)

    def image(_, x):
        return None, _product(_patches(x[None], w, groups), kernel, groups)[0]

    kernel = matrix(weight)
    return jax.lax.scan(image, None, x)[1]


def input_gradient_columns(dy, weight, w: Windows, groups):
    """The cotangent of all windows in one product, then shifted and added up."""
    *size, c, _ = weight.shape
    taps = math.prod(size)
    dy, weight = _widened(dy, weight)
    if groups == 1:
        shares = contract(dy, matrix(weight), (dy.ndim - 1,), (1,))
    else:
        weight = _grouped(matrix(weight), groups)
        dy = _grouped(dy, groups)
        axes = (dy.ndim - 1,), (2,)
        shares = contract(dy, weight, *axes, batch=((dy.ndim - 2,), (1,)))
        shares = jnp.moveaxis(shares, 0, -2)  # (N, *out, groups, taps * c)
    shares = shares.reshape(*dy.shape[: len(size) + 1], groups, taps, c)
    if taps > MANY:
        shares = jnp.swapaxes(shares, -2, -3)
        return unstacked_taps(shares.reshape(*shares.shape[:-2], groups * c), w)
    shares = jnp.moveaxis(shares, -2, 0).reshape(taps, *shares.shape[:-3], groups * c)
    return put_taps(list(shares), w)


def filter_gradient(x, dy, w: Windows, groups):
    """One product: a kernel of one tap."""
    return _outer(_only_tap(x, w), dy, groups).reshape(
        *w.kernel, x.shape[-1] // groups, dy.shape[-1]
    )


def filter_gradient_windows(x, dy, w: Windows, groups):
    """One product, of all windows with the cotangent."""
    x, w = padded(x, w)
    found = _outer(_patches(x, w, groups), dy, groups)
    return found.reshape(*w.kernel, x.shape[-1] // groups, dy.shape[-1])


def filter_gradient_patches(x, dy, w: Windows, groups):
    """A product an image, added up."""
    x, w = padded(x, w)
    taps, c, o = math.prod(w.kernel), x.shape[-1] // groups, dy.shape[-1]

    def image(total, image):
        x, dy = image
        return total + _outer(_patches(x[None], w, groups), dy[None], groups), None

    start = empty_sum((taps * c, o), x, dy)
    return jax.lax.scan(image, start, (x, dy))[0].reshape(*w.kernel, c, o)


def _only_tap(x, w):
    (tap,) = take_taps(x, w)
    return tap


def _patches(x, w, groups):
    """The windows as vectors, `(N, *out, groups * taps * C // groups)`."""
    if window_size(w) > MANY:
        taps = jnp.swapaxes(_grouped(stacked_taps(x, w), groups), -2, -3)
        return _flat(_flat(taps))
    return _flat(jnp.concatenate([_grouped(tap, groups) for tap in take_taps(x, w)], -1))


def _product(x, kernel, groups):
    """`x @ kernel` for each group: `x` has the groups in front of its other channels."""
    x, kernel = _widened(x, kernel)
    if groups == 1:
        return contract(x, kernel, (x.ndim - 1,), (0,))
    x, kernel = _grouped(x, groups), _grouped(kernel, groups)
    y = contract(x, kernel, (x.ndim - 1,), (0,), batch=((x.ndim - 2,), (1,)))
    return _flat(jnp.moveaxis(y, 0, -2))


def _outer(x, dy, groups):
    """`x.T @ dy` for each group, `(C // groups, O)`."""
    x, dy = _widened(x, dy)
    if groups == 1:
        return contract(matrix(dy), matrix(x), (0,), (0,)).T
    over = rows(x)
    group = (x.ndim - 1,)
    found = contract(
        _grouped(x, groups), _grouped(dy, groups), over, over, batch=(group, group)
    )
    return _flat(jnp.moveaxis(found, 0, 1))


def _widened(*arrays):
    """XLA:CPU has no products of bfloat16 for some shapes."""
    common = accumulator(promote(*arrays))
    return [a.astype(common) for a in arrays]


def _grouped(x, groups):
    """Channels as `(groups, channels of a group)`."""
    return x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)


def _flat(x):
    """The groups' channels behind each other."""
    return x.reshape(*x.shape[:-2], x.shape[-2] * x.shape[-1])
