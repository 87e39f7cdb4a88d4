"""Maxima over windows, and their transpose: each element to the winner of its window.

A window is a product of intervals, so this is done along one axis after another. Of two
intervals that overlap the maximum is that of their maxima, so a long one is put together of
shorter ones, twice as long each time: ten steps for a window of 1024. Windows that do not
overlap are an axis of their own, of which the maximum is taken at once.
"""

import jax
import jax.numpy as jnp

from funcnn.kernels._pooling import MANY, every
from funcnn.kernels._taps import put_taps, take_taps
from funcnn.kernels._windows import Windows


def largest_along(x, w: Windows, axis):
    """The maximum of each window along one axis, and how far in it is first attained."""
    if w.kernel[axis] <= MANY:
        return _first_largest(take_taps(x, w.along(axis), fill=-jnp.inf))
    config = [(0, 0, 0)] * x.ndim
    config[axis + 1] = (*w.padding[axis], 0)
    x = jax.lax.pad(x, jnp.asarray(-jnp.inf, x.dtype), config)
    if w.stride[axis] >= w.kernel[axis]:
        return _largest_apart(x, w, axis)
    at = jax.lax.broadcasted_iota(jnp.int32, x.shape, axis + 1)
    y, at = (every(a, w, axis) for a in _largest_doubled(x, at, w.kernel[axis], axis + 1))
    first = jax.lax.broadcasted_iota(jnp.int32, y.shape, axis + 1) * w.stride[axis]
    return y, at - first


def _first_largest(taps):
    """The elementwise maximum of taps, and which of them holds it first."""
    y, *others = taps
    winner = jnp.zeros(y.shape, jnp.int8 if len(taps) < 128 else jnp.int32)
    for k, tap in enumerate(others, start=1):
        higher = _beats(tap, y)
        y = jnp.where(higher, tap, y)
        winner = jnp.where(higher, jnp.asarray(k, winner.dtype), winner)
    return y, winner


def _beats(later, earlier):
    """Whether a later element wins over an earlier one: NaN does over any number."""
    return (later > earlier) | (jnp.isnan(later) & ~jnp.isnan(earlier))


def _largest_apart(x, w, axis):
    """Of windows that do not overlap: they are an axis of their own."""
    tiles = _cut(x, w, axis)
    y = tiles.max(axis + 2)
    here = tiles == jnp.expand_dims(y, axis + 2)
    here = here | jnp.isnan(tiles)
    at = jax.lax.broadcasted_iota(jnp.int32, tiles.shape, axis + 2)
    return y, jnp.where(here, at, w.kernel[axis]).min(axis + 2)


def _cut(x, w, axis):
    """Windows that do not overlap, `(..., out, kernel, ...)`."""
    out, step, at = w.out[axis], w.stride[axis], axis + 1
    config = [(0, 0, 0)] * x.ndim
    config[at] = (0, out * step - x.shape[at], 0)  # a negative one crops
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), config)
    x = x.reshape(*x.shape[:at], out, step, *x.shape[at + 1 :])
    return jax.lax.slice_in_dim(x, 0, w.kernel[axis], axis=at + 1)


def _largest_doubled(x, at, length, axis):
    """The first maximum of `length` elements and its place, of two that may overlap."""
    size = 1
    while size < length:
        step = min(size, length - size)
        short = x.shape[axis] - step

        def early(a, short=short):
            return jax.lax.slice_in_dim(a, 0, short, axis=axis)

        def late(a, step=step):
            return jax.lax.slice_in_dim(a, step, a.shape[axis], axis=axis)

        higher = _beats(late(x), early(x))
        x, at = (jnp.where(higher, late(a), early(a)) for a in (x, at))
        size += step
    return x, at


def to_the_largest(dy, winner, w: Windows, axis):
    """Give each element to the winner of its window: the transpose, along one axis."""
    if w.kernel[axis] <= MANY:
        taps = [jnp.where(winner == k, dy, 0) for k in range(w.kernel[axis])]
        return put_taps(taps, w.along(axis))
    low, high = w.padding[axis]
    length = w.size[axis] + low + high
    at = axis + 1
    if w.stride[axis] >= w.kernel[axis]:
        inside = jnp.arange(w.stride[axis], dtype=winner.dtype)
        inside = inside.reshape(-1, *[1] * (dy.ndim - at - 1))
        found = jnp.where(
            jnp.expand_dims(winner, at + 1) == inside, jnp.expand_dims(dy, at + 1), 0
        )
        found = found.reshape(*dy.shape[:at], -1, *dy.shape[at + 1 :])
        config = [(0, 0, 0)] * dy.ndim
        config[at] = (-low, length - found.shape[at] - high, 0)
        return jax.lax.pad(found, jnp.zeros((), dy.dtype), config)
    places = [jax.lax.broadcasted_iota(jnp.int32, dy.shape, a) for a in range(dy.ndim)]
    places[at] = places[at] * w.stride[axis] + winner.astype(jnp.int32)
    shape = (*dy.shape[:at], length, *dy.shape[at + 1 :])
    found = jnp.zeros(shape, dy.dtype).at[tuple(places)].add(dy)
    return jax.lax.slice_in_dim(found, low, low + w.size[axis], axis=at)
