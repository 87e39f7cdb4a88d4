r"""Convolution of few channels, several positions of the last axis at a time.

With few channels a window is a short vector, and a product of such vectors is mostly
reading and writing. So take $t$ outputs side by side along the last axis. What they read
of a row of the image is a strip of $L = s (t - 1) + d (K - 1) + 1$ positions, and they are
its product with a banded (Toeplitz) matrix,

$$y[t b + j, o] = \sum_{l, c} x[s t b + l,\ c]\; B[l, c, j, o], \qquad
B[s j + d k, c, j, o] = w[k, c, o],$$

zero elsewhere: $L / K$ times the multiplications, and $L / (t K)$ of the reading. The
image, cut into blocks of $s t$ positions, has strip $b$ in the blocks $b, b + 1, \dots$: so
this is a convolution once more, of fewer positions with $s t C$ channels each, by a kernel
of $\lceil L / (s t) \rceil$ blocks, with $t O$ outputs. Where windows do not overlap, as in
a stem that cuts an image into patches, $t = 1$: a strip is one block.

The transposes are this convolution's, followed by those of cutting the image, which is
putting it together, and of making $B$: $\bar w[k] = \sum_j \bar B[s j + d k, \cdot, j]$.
"""

import jax
import jax.numpy as jnp

from funcnn.kernels._windows import Windows
from funcnn.kernels.convolution import _products

FEW = 32  # features of an output; four outputs of as many, or two of more, fill a product


def convolve(x, weight, w: Windows, groups):
    """Strips by the banded matrix."""
    outputs, blocks = cut(w, weight.shape[-1])
    x, kernel = _in_blocks(x, w, outputs, blocks), _banded(weight, w, outputs, blocks)
    y = _products.convolve_windows(x, kernel, blocks, groups)
    return _apart(y, outputs)[..., : w.out[-1], :]


def input_gradient(dy, weight, w: Windows, groups):
    """Shares of strips, added up."""
    outputs, blocks = cut(w, weight.shape[-1])
    dy, kernel = _together(dy, outputs), _banded(weight, w, outputs, blocks)
    dx = _products.input_gradient_columns(dy, kernel, blocks, groups)
    dx = _apart(dx, outputs * w.stride[-1])
    low, high = _pads(w, outputs, blocks)
    return _padded(dx, -2, (-low, -high, 0))


def filter_gradient(x, dy, w: Windows, groups):
    """The matrix' cotangent, added up along each band."""
    outputs, blocks = cut(w, dy.shape[-1])
    shape = (*w.kernel[:-1], -1, x.shape[-1], outputs, dy.shape[-1])
    x, dy = _in_blocks(x, w, outputs, blocks), _together(dy, outputs)
    bands = _products.filter_gradient_windows(x, dy, blocks, groups).reshape(shape)
    return sum(
        jax.lax.slice_in_dim(bands[..., j, :], first, end, w.dilation[-1], -3)
        for j, (first, end) in enumerate(_bands(w, outputs))
    )


def cut(w: Windows, features):
    """How many outputs a strip has, and the windows over blocks."""
    _, reach = _bands(w, 1)[0]
    outputs = 1 if reach <= w.stride[-1] else 4 if features <= FEW else 2
    strips, step = -(-w.out[-1] // outputs), outputs * w.stride[-1]
    taps = -(-_bands(w, outputs)[-1][1] // step)
    blocks = Windows(
        (*w.size[:-1], strips + taps - 1),
        (*w.kernel[:-1], taps),
        (*w.stride[:-1], 1),
        (*w.padding[:-1], (0, 0)),
        (*w.dilation[:-1], 1),
        (*w.out[:-1], strips),
    )
    return outputs, blocks


def _bands(w, outputs):
    """Where in a strip the window of each of its outputs begins, and ends."""
    reach = w.dilation[-1] * (w.kernel[-1] - 1) + 1
    return [(w.stride[-1] * j, w.stride[-1] * j + reach) for j in range(outputs)]


def _banded(weight, w, outputs, blocks):
    """The matrix, `(*kernel in blocks, positions of a block * C, outputs * O)`."""
    *rows, _, c, o = weight.shape
    step = outputs * w.stride[-1]
    length = blocks.kernel[-1] * step
    bands = [
        _padded(weight, -3, (first, length - end, w.dilation[-1] - 1))
        for first, end in _bands(w, outputs)
    ]
    return jnp.stack(bands, -2).reshape(*rows, blocks.kernel[-1], step * c, outputs * o)


def _in_blocks(x, w, outputs, blocks):
    """The image, `(N, *size, C)`, as `(N, *size in blocks, positions of a block * C)`."""
    low, high = _pads(w, outputs, blocks)
    return _together(_padded(x, -2, (low, high, 0)), outputs * w.stride[-1])


def _pads(w, outputs, blocks):
    """What the last axis lacks of being blocks, before and after."""
    low = w.padding[-1][0]
    return low, blocks.size[-1] * outputs * w.stride[-1] - w.size[-1] - low


def _together(x, count):
    """`count` positions as channels of one, with zeros behind the last."""
    x = _padded(x, -2, (0, -x.shape[-2] % count, 0))
    return x.reshape(*x.shape[:-2], x.shape[-2] // count, count * x.shape[-1])


def _apart(x, count):
    """The channels of a position as `count` positions."""
    return x.reshape(*x.shape[:-2], x.shape[-2] * count, x.shape[-1] // count)


def _padded(x, axis, pads):
    """`x` with zeros before, after and between along an axis."""
    config = [(0, 0, 0)] * x.ndim
    config[axis] = pads
    return jax.lax.pad(x, jnp.zeros((), x.dtype), config)
