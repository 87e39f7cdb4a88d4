r"""Group normalisation of channels-last images (Wu & He, 2018, arXiv:1803.08494).

**Forward.** The channels fall into equal blocks, the groups. Let $\langle a \rangle$ be the
mean of $a$ over all positions of an image and the channels of a group. Then

$$\mu = \langle x \rangle, \qquad r = (\langle (x-\mu)^2 \rangle + \epsilon)^{-1/2},
\qquad \hat x = r\,(x - \mu), \qquad y = \gamma \odot \hat x + \beta,$$

with one $\gamma$ and $\beta$ a channel.

**Backward.** As for layer normalisation, with the mean taken over a group: the map from
$\dot x$ to $\dot{\hat x}$ equals its transpose, so with $g = \gamma \odot \bar y$

$$\bar x = r\,(g - \langle g \rangle - \hat x\,\langle \hat x \odot g \rangle), \qquad
\bar\gamma = \textstyle\sum \bar y \odot \hat x, \qquad \bar\beta = \textstyle\sum \bar y,$$

sums over images and positions. All of these follow from two sums over the positions $i$ of
each channel and image,

$$s = \textstyle\sum_i \bar y_i, \qquad t = r \textstyle\sum_i \bar y_i\,(x_i - \mu):$$

$\bar\beta$ and $\bar\gamma$ are their sums over images; $\langle g \rangle$ and
$\langle \hat x \odot g \rangle$ are the sums of $\gamma s$ and $\gamma t$ over a group's
channels, divided by its size. So the images are read twice, and no large array has an axis
of groups.

Rounded into one number, $\mu$ would leave a rest $\langle x - \mu \rangle$ that is not
quite 0, and a constant group far from 0 would come out as rounding error times $r$. So it
is kept as two: $m$, one of the group's elements, which is somewhere near, and
$o = \langle x - m \rangle = \mu - m$. In the same way each channel has its mean and its
variance taken from the first element of each image; a group's variance is the mean of its
channels' variances and of the squares by which their means are off. No one of $n$ numbers
is further than $\sqrt n$ deviations from their mean, so that an odd first element costs
the statistics at most that many roundings.

**Residuals.** $x, \gamma$, both inputs, $m$, $o$ and $r$, three numbers a group and image,
and $\beta$ for its dtype. We recompute $\hat x$.

**Hard points.** A constant group has variance 0 and $r = \epsilon^{-1/2}$: it maps to
$\beta$, with a finite gradient as long as $\epsilon > 0$.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp

from funcnn._checks import float_arrays, integer, number
from funcnn._numerics import apart, cast_like, upcast
from funcnn._windows import spatial_rank


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def group_norm(
    x: jax.Array, scale: jax.Array, offset: jax.Array, groups: int, eps: float = 1e-6
) -> jax.Array:
    """Normalise each image's groups of channels, then apply `scale` and `offset`.

    Args:
        x: shape `(N, *spatial, C)` with 1, 2 or 3 spatial axes.
        scale: shape `(C,)`.
        offset: shape `(C,)`.
        groups: the number of blocks of channels; divides C. With `groups=C` each channel
            is normalised by itself (instance normalisation).
        eps: added to the variance, at least 0.

    Returns:
        Shape and dtype of `x`; statistics are computed in at least float32.

    Raises:
        TypeError: if an array is not floating-point, or `groups` not an integer.
        ValueError: if the shapes do not fit, `groups` does not divide C, or `eps` is
            negative.
    """
    return group_norm_fwd(x, scale, offset, groups, eps)[0]


def group_norm_fwd(x, scale, offset, groups, eps):
    x, scale, offset = float_arrays("group_norm", x=x, scale=scale, offset=offset)
    spatial_rank("group_norm", x.shape)
    groups = integer("group_norm", "groups", groups, minimum=1)
    eps = number("group_norm", "eps", eps, low=0.0)
    channels = x.shape[-1]
    if channels % groups:
        raise ValueError(
            f"group_norm needs groups that divide the {channels} channels of x; got "
            f"{groups}."
        )
    if not (channels,) == scale.shape == offset.shape:
        raise ValueError(
            f"group_norm needs scale and offset of shape ({channels},) for x of shape "
            f"{x.shape}; got scale {scale.shape} and offset {offset.shape}."
        )
    xf = upcast(x)
    gamma, beta = (upcast(a).astype(xf.dtype).reshape(groups, -1) for a in (scale, offset))

    def split(a):
        return a.reshape(x.shape[0], *gamma.shape)

    def mean(a):
        return split(positions(a)) / count(a)

    # one more than needed, or XLA:CPU would write out the difference that both means share
    first, last = (split(corner(xf, i)) for i in (0, -1))
    rest = mean(xf - over_image(last, x)) + (last - first)
    variance = mean((xf - over_image(first, x) - over_image(rest, x)) ** 2)

    near = first[..., :1]
    away = (first - near) + rest
    off = of_group(away)
    r = jax.lax.rsqrt(of_group(variance + (away - off) ** 2) + eps)
    minus, factor, shift = apart(affine, x.shape, near, off, r, gamma, beta)
    y = (xf + over_image(minus, x)) * over_image(factor, x) + over_image(shift, x)
    return y.astype(x.dtype), (x, scale, offset, near, off, r)


def affine(near, off, r, gamma, beta):
    """What the forward pass adds to `x`, multiplies by and adds, at each channel."""
    mu, error = rounded(near, off)
    factor = r * gamma
    return jnp.stack([spread(-mu, gamma), factor, beta - error * factor])


def group_norm_bwd(groups, eps, residuals, dy):
    del groups, eps  # they act through the statistics
    x, scale, offset, near, off, r = residuals
    xf, dyf = upcast(x), upcast(dy)
    gamma = scale.astype(dyf.dtype).reshape(r.shape[1], -1)
    mu, error = rounded(near, off)
    mu = spread(mu, gamma)
    s = positions(dyf).reshape(mu.shape)
    t = positions(dyf * (xf - over_image(mu, x))).reshape(mu.shape)
    minus, factor, slope, shift, t = apart(
        pulled_back, x.shape, s, t, mu, error, r, gamma, count(x)
    )
    dx = dyf * over_image(factor, x) + over_image(shift, x)
    dx = dx - (xf + over_image(minus, x)) * over_image(slope, x)
    return cast_like((dx, t.sum(0).ravel(), s.sum(0).ravel()), (x, scale, offset))


def pulled_back(s, t, mu, error, r, gamma, positions):
    """What `x` and its cotangent are put together by, at each channel, and $t$."""
    t = r * (t - error * s)
    slope = r * r * of_group(gamma * t) / positions
    shift = slope * error - r * of_group(gamma * s) / positions
    return jnp.stack([-mu, r * gamma, spread(slope, gamma), spread(shift, gamma), t])


group_norm.defvjp(group_norm_fwd, group_norm_bwd)


def corner(x, i):
    """The first position of each image, or the last, `(N, C)`; zeros if there are none."""
    if 0 in x.shape[1:-1]:
        return positions(x)
    return x[(slice(None), *(i,) * (x.ndim - 2))]


def rounded(near, off):
    """The group's mean, and what rounding it to one number leaves."""
    mu = near + off
    return mu, off - (mu - near)


def spread(a, gamma):
    """What groups have, at each of their channels."""
    return jnp.broadcast_to(a, (a.shape[0], *gamma.shape))


def positions(a):
    """The sum over the positions of an image, `(N, C)`."""
    return a.sum(tuple(range(1, a.ndim - 1)))


def count(a):
    """How many positions an image has; 1 if there are none."""
    return float(max(math.prod(a.shape[1:-1]), 1))


def of_group(a):
    """The mean over each group's channels, `(N, groups, 1)`."""
    return a.mean(-1, keepdims=True)


def over_image(a, x):
    """What channels have, at each position of their image."""
    a = a.reshape(a.shape[0], x.shape[-1])
    return jnp.expand_dims(a, tuple(range(1, x.ndim - 1)))


def group_norm_reference(x, scale, offset, groups, eps=1e-6):
    """The definition, left to `jax.grad`."""
    blocks = x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)
    axes = (*range(1, x.ndim - 1), x.ndim)
    centred = blocks - blocks.mean(axes, keepdims=True)
    xhat = centred / jnp.sqrt(blocks.var(axes, keepdims=True) + eps)
    return scale * xhat.reshape(x.shape) + offset


def group_norm_cases(rng):
    """Arguments on which every claim is tested."""
    normal = rng.standard_normal
    image, gamma, beta = normal((2, 3, 2, 4)), normal(4), normal(4)
    constant = normal((2, 1, 1, 1)).repeat(3, 1).repeat(4, 3)
    corners = image.copy()
    corners[:, 0, 0] += 1e3
    corners[:, -1, -1] -= 1e3
    return {
        "two groups": (image, gamma, beta, 2),
        "one group": (image, gamma, beta, 1),
        "a group a channel, large eps": (image, gamma, beta, 4, 0.5),
        "1 axis": (normal((2, 5, 3)), normal(3), normal(3), 3),
        "3 axes": (normal((1, 2, 3, 2, 4)), gamma, beta, 2),
        "one number a group": (normal((2, 1, 1, 3)), normal(3), normal(3), 3),
        "far from zero": (1e3 + image, gamma, beta, 2),
        "constant groups": (constant, gamma, beta, 2, 1e-2),
        "tiny": (1e-4 * image, gamma, beta, 2),
        "odd corners": (corners, gamma, beta, 2),
        "empty batch": (image[:0], gamma, beta, 2),
    }
