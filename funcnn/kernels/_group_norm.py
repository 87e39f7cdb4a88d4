"""Normalisation of groups of channels of images, and its cotangents, reading them twice.

What is computed, and why so, is derived in the op's own file, `funcnn/ops/_group_norm.py`.
"""

import math

import jax
import jax.numpy as jnp

from funcnn.foundation._compiler import apart
from funcnn.foundation._dtypes import divisor, upcast


def forward(groups, eps, x, scale, offset):
    """`y` of the shape and dtype of `x`, and three statistics that `backward` reads."""
    xf = upcast(x)
    gamma, beta = (upcast(a).astype(xf.dtype).reshape(groups, -1) for a in (scale, offset))
    first = corner(xf)
    total = positions(xf - over_image(first, x))
    centre = apart(middle, x.shape, first, total, count(x))
    squares = positions((xf - over_image(centre, x)) ** 2)
    near, minus, off, r, factor, shift = apart(
        affine, x.shape, first, total, centre, squares, gamma, beta, count(x), eps
    )
    y = (xf - over_image(near, x)) * over_image(factor, x) + over_image(shift, x)
    return y.astype(x.dtype), minus, off, r


def middle(first, total, positions):
    """The mean of each channel, from the sum of how far it is from an element."""
    return first + total / positions


def affine(first, total, centre, squares, gamma, beta, positions, eps):
    """What is kept of each group, and the slope and offset of each channel."""
    mid, rest, variance = (
        a.reshape(a.shape[0], *gamma.shape)
        for a in (centre, total / positions - (centre - first), squares / positions)
    )
    off = of_group((mid - mid[..., :1]) + rest)
    away = centre_in_group(mid, off)
    r = jax.lax.rsqrt(of_group(variance - rest**2 + (away + rest) ** 2) + eps)
    factor = r[..., None] * gamma
    shift = beta + away * factor
    factor, shift = (a.reshape(centre.shape) for a in (factor, shift))
    return centre, -centre, off, r, factor, shift


def centre_in_group(centre, off):
    """How far a channel's centre is from its group's mean."""
    return (centre - centre[..., :1]) - off[..., None]


def backward(x, dy, minus, off, r, scale):
    """The cotangent of `x`, and those of scale and offset."""
    xf, dyf = upcast(x), upcast(dy)
    gamma = scale.astype(dyf.dtype).reshape(r.shape[1], -1)
    s, t = positions(dyf), positions(dyf * (xf + over_image(minus, x)))
    sums, near, factor, slope, shift = apart(
        pulled_back, x.shape, t, s, minus, off, r, gamma, count(x)
    )
    dx = dyf * over_image(factor, x) + over_image(shift, x)
    dx = dx - (xf + over_image(near, x)) * over_image(slope, x)
    dscale = slopes(t, s, minus, off, r).sum(0).ravel()
    return dx, (dscale, sums.sum(0))


def slopes(t, s, minus, off, r):
    """$t$, from the same sum with a channel's centre for its group's mean."""
    size = s.shape[-1] // r.shape[-1]
    t, s, minus = (a.reshape(*r.shape, size) for a in (t, s, minus))
    return r[..., None] * (t + centre_in_group(-minus, off) * s)


def pulled_back(t, s, minus, off, r, gamma, positions):
    """What `x` and its cotangent are put together by, at each channel."""
    t = slopes(t, s, minus, off, r)
    slope = (r**2 * of_group(gamma * t) / positions)[..., None]
    shift = (r * of_group(gamma * s.reshape(t.shape)) / positions)[..., None]
    away = centre_in_group(-minus.reshape(t.shape), off)
    found = r[..., None] * gamma, jnp.broadcast_to(slope, t.shape), -away * slope - shift
    return s, minus, *(a.reshape(minus.shape) for a in found)


def corner(x):
    """The first position of each image, `(N, C)`; zeros if there are none."""
    if 0 in x.shape[1:-1]:
        return positions(x)
    return x[(slice(None), *(0,) * (x.ndim - 2))]


def positions(a):
    """The sum over the positions of an image, `(N, C)`."""
    return a.sum(tuple(range(1, a.ndim - 1)))


def count(a):
    """How many positions an image has; 1 if there are none."""
    return float(max(math.prod(a.shape[1:-1]), 1))


def of_group(a):
    """The mean over each group's channels, `(N, groups)`."""
    return (a / divisor(a.shape[-1])).sum(-1)


def over_image(a, x):
    """What channels have, at each position of their image."""
    return jnp.expand_dims(a, tuple(range(1, x.ndim - 1)))
