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
quite 0, and a constant group far from 0 would come out as rounding error times $r$. So no
mean is needed to all its digits: $x$ is only read as $x - c$, where $c$ is each channel's
mean, rounded, in each image. It is summed from the first element of the channel: no one of
$n$ numbers is further than $\sqrt n$ deviations from their mean, so that an odd first
element costs at most that many roundings. What rounding $c$ leaves is known, it being the
last digits of that sum, and corrects the sum of squares. With $c_1$ the first of a group's
$c$, the group's mean is kept as $o = \mu - c_1$. Then $a = (c - c_1) - o = c - \mu$ tells
how far a channel is from its group, and with $f = r \gamma$

$$y = f \odot (x - c) + (\beta + f \odot a), \qquad
t = r\,\big( \textstyle\sum_i \bar y_i\,(x_i - c) + a\,s \big).$$

**Speed.** Sums over positions are XLA:CPU's own loops, which read what other loops write
once it has several readers, an image's worth of differences too. So $c$ is kept in several
forms, each for one sum: as it is, as $-c$, and as what conditions hand on.

**Residuals.** $x, \gamma$, both inputs, $-c$, a number a channel and image, $o$ and $r$,
two a group and image, and $\beta$ for its dtype. We recompute $\hat x$.

**Hard points.** A constant group has variance 0 and $r = \epsilon^{-1/2}$: it maps to
$\beta$, with a finite gradient as long as $\epsilon > 0$.
"""

from functools import partial

import jax
import jax.numpy as jnp

from funcnn.foundation._checks import float_arrays, integer, number
from funcnn.foundation._cotangents import cast_like
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._mesh import by_device
from funcnn.foundation._shapes import scale_and_offset
from funcnn.kernels._group_norm import backward, forward
from funcnn.kernels._windows import spatial_rank


@partial(custom_vjp, nondiff_argnums=(3, 4))
def group_norm(
    x: jax.Array, scale: jax.Array, offset: jax.Array, groups: int, eps: float = 1e-6
) -> jax.Array:
    """Normalise each image's groups of channels, then apply `scale` and `offset`.

    Args:
        x: shape `(N, C)`, or `(N, *spatial, C)` with 1, 2 or 3 spatial axes.
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
    if x.ndim != 2:
        spatial_rank("group_norm", x.shape)
    groups = integer("group_norm", "groups", groups, minimum=1)
    eps = number("group_norm", "eps", eps, low=0.0)
    channels = x.shape[-1]
    if channels % groups:
        raise ValueError(
            f"group_norm needs groups that divide the {channels} channels of x; got "
            f"{groups}."
        )
    scale_and_offset("group_norm", x, scale, offset)

    arrays = image(x), scale, offset
    y, *statistics = by_device(partial(forward, groups, eps), arrays)(*arrays)
    return y.reshape(x.shape), (x, scale, offset, *statistics)


def group_norm_bwd(groups, eps, residuals, dy):
    del groups, eps  # they act through the statistics
    x, scale, offset, *statistics = residuals

    arrays = image(x), image(dy), *statistics, scale
    dx, totals = by_device(backward, arrays, 5, totals=True)(*arrays)
    return cast_like((dx.reshape(x.shape), *totals), (x, scale, offset))


group_norm.defvjp(group_norm_fwd, group_norm_bwd)


def image(x):
    """What has no spatial axis, as an image of one position."""
    return x[:, None] if x.ndim == 2 else x


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
        "no spatial axes": (normal((3, 6)), normal(6), normal(6), 2),
        "empty batch": (image[:0], gamma, beta, 2),
    }
