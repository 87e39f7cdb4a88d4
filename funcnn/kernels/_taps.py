"""The taps of images in windows, one array for each element of a window, and back.

Tap `k` is a strided slice of the padded images. Taking one transposed puts its cotangent
back where it came from. Where windows have many elements, a program of as many slices
would take long to compile: then all taps are one array, gathered along one axis after
another, and scattered back.
"""

import jax
import jax.numpy as jnp
import numpy as np

from funcnn.kernels._windows import Windows, window_size

MANY = 64  # taps in a program that has a slice for each


def take_taps(x, w: Windows, fill=0.0):
    """The taps of `x: (N, *size, C)`, each `(N, *out, C)`, padding read as `fill`."""
    x = jax.lax.pad(x, jnp.asarray(fill, x.dtype), edges(w))
    strides = (1, *w.stride, 1)
    reach = [(n - 1) * s + 1 for n, s in zip(w.out, w.stride, strict=True)]
    return [
        jax.lax.slice(
            x,
            (0, *offset, 0),
            (x.shape[0], *(o + r for o, r in zip(offset, reach, strict=True)), x.shape[-1]),
            strides,
        )
        for offset in w.offsets()
    ]


def take_tap(x, offset, w: Windows):
    """The tap that begins at `offset`, which may be traced, of images with padding."""
    reach = [(n - 1) * s + 1 for n, s in zip(w.out, w.stride, strict=True)]
    zero = jnp.zeros((), offset.dtype)
    tap = jax.lax.dynamic_slice(x, (zero, *offset, zero), (x.shape[0], *reach, x.shape[-1]))
    return tap[(slice(None), *(slice(None, None, s) for s in w.stride))]


def put_taps(taps, w: Windows):
    """Add taps `(N, *out, C)` up where they came from: the transpose of `take_taps`.

    Returns `(N, *size, C)`; what falls on the padding is dropped.
    """
    placed = []
    for tap, offset in zip(taps, w.offsets(), strict=True):
        config = [
            (o - low, n + low - o - ((m - 1) * s + 1), s - 1)
            for o, n, m, s, (low, _) in zip(
                offset, w.size, w.out, w.stride, w.padding, strict=True
            )
        ]
        # Negative low and high crop, which is how the padding's share is dropped.
        zero = jnp.zeros((), tap.dtype)
        placed.append(jax.lax.pad(tap, zero, [(0, 0, 0), *config, (0, 0, 0)]))
    return sum(placed[1:], start=placed[0])


def stacked_taps(x, w: Windows):
    """The taps of `x: (N, *size, C)` in one array, `(N, *out, taps, C)`."""
    if window_size(w) <= MANY:
        return jnp.stack(take_taps(x, w), -2)
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), edges(w))
    for axis in reversed(range(len(w.size))):  # (N, ..., out, kernel, ..., C)
        x = jnp.take(x, _reads(w, axis), axis + 1)
    rank = len(w.size)
    order = (0, *range(1, 2 * rank, 2), *range(2, 2 * rank + 1, 2), 2 * rank + 1)
    return x.transpose(order).reshape(x.shape[0], *w.out, window_size(w), x.shape[-1])


def unstacked_taps(taps, w: Windows):
    """Add taps `(N, *out, taps, C)` up where they came from, `(N, *size, C)`."""
    if window_size(w) <= MANY:
        return put_taps(list(jnp.moveaxis(taps, -2, 0)), w)
    rank = len(w.size)
    found = taps.reshape(taps.shape[0], *w.out, *w.kernel, taps.shape[-1])
    order = [0, *(a for i in range(1, rank + 1) for a in (i, rank + i)), 2 * rank + 1]
    found = found.transpose(order)  # (N, out, kernel, out, kernel, ..., C)
    for axis in range(rank):
        length = w.size[axis] + sum(w.padding[axis])
        shape = (*found.shape[: axis + 1], length, *found.shape[axis + 3 :])
        at = (slice(None),) * (axis + 1) + (_reads(w, axis),)
        found = jnp.zeros(shape, found.dtype).at[at].add(found)
    inside = [slice(low, low + n) for n, (low, _) in zip(w.size, w.padding, strict=True)]
    return found[(slice(None), *inside)]


def edges(w: Windows):
    """What `jax.lax.pad` adds around images, and nothing between."""
    return [(0, 0, 0), *((low, high, 0) for low, high in w.padding), (0, 0, 0)]


def _reads(w, axis):
    """Where in the padded axis each output reads each tap, `(out, kernel)`."""
    first = w.stride[axis] * np.arange(w.out[axis])[:, None]
    return first + w.dilation[axis] * np.arange(w.kernel[axis])
