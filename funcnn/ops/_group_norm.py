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
quite 0, and a constant group far from 0 would come out as rounding error times $r$. We take
off two: the mean $m$ of an image's first row, which is somewhere near, then the rest
$\langle x - m \rangle = \mu - m$.

**Residuals.** $x, \gamma$, both inputs, $m$, the rest and $r$, three numbers a group and
image, and $\beta$ for its dtype. We recompute $\hat x$.

**Hard points.** A constant group has variance 0 and $r = \epsilon^{-1/2}$: it maps to
$\beta$, with a finite gradient as long as $\epsilon > 0$.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp

from funcnn._checks import float_arrays, integer, number
from funcnn._numerics import cast_like, upcast
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

    def mean(a):
        return group_mean(positions(a), groups, math.prod(a.shape[1:-1]))

    each = partial(of_channels, count=channels)
    near = mean(xf[:, :1])
    rest = mean(xf - each(near))
    centred = (xf - each(near)) - each(rest)
    r = jax.lax.rsqrt(mean(centred**2) + eps)
    gamma, beta = (upcast(a).astype(xf.dtype) for a in (scale, offset))
    y = centred * (each(r) * gamma) + beta
    return y.astype(x.dtype), (x, scale, offset, near, rest, r)


def group_norm_bwd(groups, eps, residuals, dy):
    del eps  # it acts through r
    x, scale, offset, near, rest, r = residuals
    each = partial(of_channels, count=x.shape[-1])
    dyf = upcast(dy)
    gamma = scale.astype(dyf.dtype)
    size = math.prod(x.shape[1:-1])
    s = positions(dyf)
    # XLA:CPU computes whatever it can as soon as it can: without `s` in it, which changes
    # nothing, `centred` would be there from the forward pass on, as large as x
    centred = (upcast(x) - (each(near) + 0 * s)) - each(rest)
    t = positions(dyf * centred) * each(r)
    mean_g = group_mean(gamma * s, groups, size)
    mean_xg = group_mean(gamma * t, groups, size)
    dx = each(r) * (gamma * dyf - each(mean_g) - centred * each(r * mean_xg))
    images = tuple(range(x.ndim - 1))
    return cast_like((dx, t.sum(images), s.sum(images)), (x, scale, offset))


group_norm.defvjp(group_norm_fwd, group_norm_bwd)


def positions(a):
    """The sum over the positions of an image, `(N, 1, ..., C)`."""
    return a.sum(tuple(range(1, a.ndim - 1)), keepdims=True)


def group_mean(sums, groups, size):
    """From each channel's sum over `size` positions to each group's mean."""
    blocks = sums.reshape(*sums.shape[:-1], groups, sums.shape[-1] // groups)
    return blocks.sum(-1) / max(size * blocks.shape[-1], 1)


def of_channels(a, count):
    """What groups have, at each of their channels."""
    return jnp.repeat(a, count // max(a.shape[-1], 1), axis=-1)


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
        "empty batch": (image[:0], gamma, beta, 2),
    }
