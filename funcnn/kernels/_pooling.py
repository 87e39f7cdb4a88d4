"""Sums over windows, and their transpose.

On a CPU this is a matter of reading memory in the right order. Windows that tile the image
are a reshape away from sums over their own axes, and the transpose of their sum is a
repetition. Windows that overlap are summed from their taps an image at a time, so that all
taps of an image come from the cache; the compiler's own `reduce_window` walks through each
window separately.

Long windows are put together of shorter ones, twice as long each time: a sum over $2 m$ is
one over $m$ and its neighbour's, and a window is the sum of those that its length has bits
for. So a window of 1024 takes ten steps over the image, and as few operations.
"""

import math
from functools import reduce

import jax
import jax.numpy as jnp

from funcnn.foundation._compiler import on_cpu
from funcnn.kernels._taps import take_taps
from funcnn.kernels._windows import Windows

MANY = 16  # taps: beyond, a reduction is faster than as many slices
LONG = 64  # taps of an image at a time; beyond, along one axis after another


def choose(w: Windows) -> str:
    """The formulation for windows: "taps", "tiles", "images" or "axes"."""
    if tiled(w):
        return "tiles" if math.prod(w.kernel) > MANY else "taps"
    return "images" if math.prod(w.kernel) <= LONG else "axes"


def tiled(w: Windows) -> bool:
    """Whether windows neither overlap nor leave gaps nor hang over."""
    return w.stride == w.kernel and not any(map(any, w.padding))


def window_sums(x, w: Windows):
    """The sum over each window of `x: (N, *size, C)`, `(N, *out, C)`."""

    def along_axes(x):
        for axis in reversed(range(len(w.size))):
            x = _sums_along(x, w, axis)
        return x

    def images(x):
        def image(_, x):
            return None, reduce(jnp.add, take_taps(x[None], w))[0]

        return jax.lax.scan(image, None, x)[1]

    name = choose(w)
    if name == "taps":
        return reduce(jnp.add, take_taps(x, w))
    if name == "tiles":
        return _tiles(x, w).sum(tuple(range(2, 2 * len(w.size) + 1, 2)))
    if name == "axes":
        return along_axes(x)
    return on_cpu(images, along_axes, x)


def _sums_along(x, w, axis):
    """Sums over windows along one axis."""
    if w.kernel[axis] <= MANY:
        return reduce(jnp.add, take_taps(x, w.along(axis)))
    config = [(0, 0, 0)] * x.ndim
    config[axis + 1] = (*w.padding[axis], 0)
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), config)
    return every(_doubled(x, w.kernel[axis], axis + 1), w, axis)


def _doubled(x, length, axis):
    """The sum of `length` elements, and as many fewer positions less one."""
    positions = x.shape[axis] - length + 1

    def from_(a, first):
        return jax.lax.slice_in_dim(a, first, first + positions, axis=axis)

    total, covered, size = None, 0, 1
    while True:
        if length & size:
            part = from_(x, covered)
            total = part if total is None else total + part
            covered += size
        if covered == length:
            return total
        short = x.shape[axis] - size
        x = jax.lax.slice_in_dim(x, 0, short, axis=axis) + jax.lax.slice_in_dim(
            x, size, size + short, axis=axis
        )
        size *= 2


def every(x, w, axis):
    """What of all positions the outputs are at."""
    last = (w.out[axis] - 1) * w.stride[axis] + 1
    return jax.lax.slice_in_dim(x, 0, last, w.stride[axis], axis + 1)


def spread(dy, w: Windows):
    """Give each element `dy: (N, *out, C)` to all of its window: the sum's transpose."""
    if not tiled(w):
        return _shifted_sums(dy, w)
    rank = len(w.out)
    shape = [dy.shape[0], *(n for pair in zip(w.out, w.kernel, strict=True) for n in pair)]
    axes = (0, *range(1, 2 * rank, 2), 2 * rank + 1)
    tiles = jax.lax.broadcast_in_dim(dy, (*shape, dy.shape[-1]), axes)
    tiles = tiles.reshape(dy.shape[0], *_covered(w), dy.shape[-1])
    return _pad(tiles, [(0, n - m, 0) for n, m in zip(w.size, _covered(w), strict=True)])


def _covered(w):
    return [m * k for m, k in zip(w.out, w.kernel, strict=True)]


def _tiles(x, w):
    """`(N, out, kernel, out, kernel, ..., C)`, without what no window covers."""
    x = x[(slice(None), *map(slice, _covered(w)))]
    pairs = (n for pair in zip(w.out, w.kernel, strict=True) for n in pair)
    return x.reshape(x.shape[0], *pairs, x.shape[-1])


def _shifted_sums(dy, w):
    """Put zeros between the windows, then sum over as many neighbours as a window has."""
    config = [
        (k - 1 - low, n + low - ((m - 1) * s + 1), s - 1)
        for n, k, m, s, (low, _) in zip(
            w.size, w.kernel, w.out, w.stride, w.padding, strict=True
        )
    ]
    total = _pad(dy, config)
    for axis, (n, k) in enumerate(zip(w.size, w.kernel, strict=True), start=1):
        if k > MANY:
            total = _doubled(total, k, axis)
            continue
        total = sum(
            (jax.lax.slice_in_dim(total, j, j + n, axis=axis) for j in range(1, k)),
            start=jax.lax.slice_in_dim(total, 0, n, axis=axis),
        )
    return total


def _pad(x, config):
    return jax.lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *config, (0, 0, 0)])
