r"""Depthwise convolution as shifted images, multiplied and added.

With one input (or one output) channel a group, no two products share an operand, so a
matrix product has nothing to gain:

$$y[n, i, c] = \sum_k x[n,\ s i + d k - l,\ c]\; w[k, c], \qquad
\bar w[k, c] = \sum_{n, i} x[n,\ s i + d k - l,\ c]\; \bar y[n, i, c].$$

The first is a sum of $K$ shifted images, each times a row of $w$. In the second the sum is
over everything but channels, the last axis. Summed outright, it would read one channel's
numbers a whole image apart; added up over rows of images first, all arithmetic is along the
last axes, and only what is left is summed over positions.

With several outputs a channel the input is repeated for them, and its cotangent summed.
Of very many taps some are summed at a time, in a loop, so that the program stays short.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from funcnn.foundation._compiler import once
from funcnn.foundation._dtypes import accumulator, promote
from funcnn.foundation._products import empty_sum
from funcnn.kernels._taps import MANY, take_tap, take_taps
from funcnn.kernels._windows import Windows, window_size
from funcnn.kernels.convolution._geometry import padded

CHUNK = 8  # taps at a time, if there are very many


def convolve(x, weight, w: Windows, groups):
    """Over all images, once: in each loop that reads it, it would be too dear."""
    x, weight, inputs = _by_channel(x, weight, groups)
    x, w = padded(x, w)
    shape = x.shape[0], *w.out, x.shape[-1]
    total = once(functools.partial(_shifted_sum, w), shape, x, weight)
    return _sum_groups(total, inputs)


def filter_gradient_by_row(x, dy, w: Windows, groups):
    """Add the products up over rows of all images, one sum a tap, then over positions.

    Sums as long as a row stay in the cache, where those as large as an image would not.
    """
    x, dy, shape = _paired(x, dy, w, groups)
    if math.prod(w.kernel[1:]) > MANY:  # taps of a row, which would be a sum each
        return _filter_gradient_in_chunks(x, dy, w, shape)
    if len(w.size) == 1:  # an image of one row
        x, dy = x[:, None], dy[:, None]
        w = Windows(
            (1, *w.size), (1, *w.kernel), (1, *w.stride), ((0, 0), *w.padding),
            (1, *w.dilation), (1, *w.out),
        )  # fmt: skip
    x, w = padded(x, w)
    kernel, stride, dilation = w.kernel[0], w.stride[0], w.dilation[0]
    along, between = _last_axis_apart(_without_first_axis(w))

    def image(totals, image):
        x, dy = image

        def row(totals, row):
            dy, i = row
            dy = dy[..., None, :, :]
            # the rows that this one reads, as if they were a batch
            read = dilation * (kernel - 1) + 1
            near = jax.lax.dynamic_slice_in_dim(x, i * stride, read)[::dilation]
            taps = (_slid(tap, *along) for tap in take_taps(near, between))
            return [t + tap * dy for t, tap in zip(totals, taps, strict=True)], None

        return jax.lax.scan(row, totals, (dy, jnp.arange(w.out[0])))[0], None

    *before, out, channels = dy.shape[2:]
    start = empty_sum((kernel, *before, along[0], out, channels), x, dy)
    totals = jax.lax.scan(image, [start] * math.prod(between.kernel), (x, dy))[0]
    stacked = jnp.stack(totals)  # (taps between, rows, *before, taps along, out, channels)
    found = stacked.sum((*range(2, 2 + len(before)), stacked.ndim - 2))
    return jnp.swapaxes(found, 0, 1).reshape(shape)


def _by_channel(x, weight, groups):
    """Operands with the same channels, and how many of them an output adds up."""
    common = accumulator(promote(x, weight))
    inputs, o = weight.shape[-2:]
    taps = math.prod(weight.shape[:-2])
    if inputs == 1:
        rows = weight.reshape(taps, o)
        x = jnp.repeat(x, o // groups, -1) if o > groups else x
    else:  # one output a group
        rows = jnp.swapaxes(weight.reshape(taps, inputs, o), 1, 2).reshape(taps, o * inputs)
    return x.astype(common), rows.astype(common), inputs


def _sum_groups(y, inputs):
    if inputs == 1:
        return y
    return y.reshape(*y.shape[:-1], y.shape[-1] // inputs, inputs).sum(-1)


def _shifted_sum(w, x, weight):
    if len(weight) > MANY:
        return _sum_of_chunks(w, x, weight)
    # XLA would run a sum of very many shifts as one loop that reads all over the cache
    along = w.kernel[-1]
    total = None
    for k, (tap, row) in enumerate(zip(take_taps(x, w), weight, strict=True)):
        total = tap * row if total is None else total + tap * row
        if k % along == along - 1 and k + 1 < len(weight):
            total = jax.lax.optimization_barrier(total)
    return total


def _sum_of_chunks(w, x, weight):
    offsets, rows = _chunks(w, weight)

    def add(total, chunk):
        for offset, row in zip(*chunk, strict=True):
            total = total + take_tap(x, offset, w) * row
        return total, None

    start = empty_sum((x.shape[0], *w.out, x.shape[-1]), x, weight)
    return jax.lax.scan(add, start, (offsets, rows))[0]


def _filter_gradient_in_chunks(x, dy, w, shape):
    """Products added up over everything but channels, a tap at a time."""
    x, w = padded(x, w)
    (offsets,) = _chunks(w)
    over = tuple(range(dy.ndim - 1))

    def found(_, chunk):
        return None, jnp.stack([(take_tap(x, at, w) * dy).sum(over) for at in chunk])

    sums = jax.lax.scan(found, None, offsets)[1].reshape(-1, dy.shape[-1])
    return sums[: window_size(w)].reshape(shape)


def _chunks(w, *arrays):
    """Where taps begin, and arrays with a row for each, some at a time; zeros fill up."""
    lacking = -window_size(w) % CHUNK
    arrays = (np.array(w.offsets(), np.int32), *arrays)
    return tuple(
        jnp.pad(a, ((0, lacking), (0, 0))).reshape(-1, CHUNK, a.shape[-1]) for a in arrays
    )


def _paired(x, dy, w, groups):
    """Operands with the same channels, and the shape of the kernel's cotangent."""
    common = accumulator(promote(x, dy))
    c, o = x.shape[-1], dy.shape[-1]
    x = jnp.repeat(x, o // groups, -1) if o > groups else x
    return x.astype(common), dy.astype(common), (*w.kernel, c // groups, o)


def _without_first_axis(w):
    return Windows(*(field[1:] for field in w))


def _last_axis_apart(w):
    """The kernel, stride, dilation and outputs of the last axis, and the axes before it.

    If there are any besides it, it is left with them: slices were 1.2 times faster.
    """
    if len(w.size) > 1:
        return (1, 1, 1, w.out[-1]), w
    return [f[-1] for f in (w.kernel, w.stride, w.dilation, w.out)], w._replace(
        kernel=(1,), stride=(1,), dilation=(1,), out=w.size
    )


def _slid(x, kernel, stride, dilation, out):
    """All taps along the last axis but channels, in one array, on an axis before it.

    Copies of a row one after the other, read in steps that are longer than it, begin
    further right in each: one loop of XLA:CPU, where as many slices would be one each.
    """
    *lead, _, channels = x.shape
    length = (out - 1) * stride + (kernel - 1) * dilation + 1
    step = length + dilation
    copies = -(-kernel * step // length)
    x = jnp.broadcast_to(x[..., None, :length, :], (*lead, copies, length, channels))
    x = x.reshape(*lead, copies * length, channels)[..., : kernel * step, :]
    x = x.reshape(*lead, kernel, step, channels)
    return x[..., : (out - 1) * stride + 1 : stride, :]
