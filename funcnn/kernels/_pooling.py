"""Sums over windows, and their transpose.

On a CPU this is a matter of reading memory in the right order. Windows that tile the image
are a reshape away from sums over their own axes, and the transpose of their sum is a
repetition. Windows that overlap are summed from their taps an image at a time, so that all
taps of an image come from the cache; the compiler's own `reduce_window` walks through each
window separately.
"""

import math
from functools import reduce

import jax
import jax.numpy as jnp

from funcnn.foundation._compiler import on_cpu
from funcnn.kernels._taps import take_taps
from funcnn.kernels._windows import Windows

MANY = 16  # taps: beyond, a reduction is faster than as many slices


def choose(w: Windows) -> str:
    """The formulation for windows: "taps", "tiles" or "images"."""
    if tiled(w):
        return "tiles" if math.prod(w.kernel) > MANY else "taps"
    return "images"


def tiled(w: Windows) -> bool:
    """Whether windows neither overlap nor leave gaps nor hang over."""
    return w.stride == w.kernel and not any(map(any, w.padding))


def window_sums(x, w: Windows):
    """The sum over each window of `x: (N, *size, C)`, `(N, *out, C)`."""

    def along_axes(x):
        for axis in reversed(range(len(w.size))):
            x = reduce(jnp.add, take_taps(x, w.along(axis)))
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
    return on_cpu(images, along_axes, x)


def spread(dy, w: Windows):
    """Give each element `dy: (N, *out, C)` to all of its window: the sum's transpose."""
    if choose(w) == "images" or not tiled(w):
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
        total = sum(
            (jax.lax.slice_in_dim(total, j, j + n, axis=axis) for j in range(1, k)),
            start=jax.lax.slice_in_dim(total, 0, n, axis=axis),
        )
    return total


def _pad(x, config):
    return jax.lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *config, (0, 0, 0)])
