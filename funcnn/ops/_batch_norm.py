r"""Batch normalisation (Ioffe & Szegedy, 2015, arXiv:1502.03167), with its statistics.

**Forward.** Let $\langle a \rangle$ be the mean of $a$ over all $n$ rows, that is, over all
axes but the last: examples and positions. For each channel

$$\mu = \langle x \rangle, \qquad v = \langle (x-\mu)^2 \rangle, \qquad
r = (v + \epsilon)^{-1/2}, \qquad \hat x = r\,(x - \mu), \qquad
y = \gamma \odot \hat x + \beta,$$

and $y$, $\mu$ and $v$ are returned: $v$ is the variance divided by $n$, the biased one.

**Backward.** Perturbing $x$ by $\dot x$ gives

$$\dot\mu = \langle \dot x \rangle, \qquad
\dot v = 2\,\langle (x - \mu) \odot \dot x \rangle, \qquad
\dot{\hat x} = r\,(\dot x - \langle \dot x \rangle
- \hat x\,\langle \hat x \odot \dot x \rangle),$$

since $\dot\mu$ drops out of $\dot v$, and $\dot r = -\frac 12 r^3 \dot v$. The last map
equals its transpose; $\langle \cdot \rangle$, transposed, spreads a number over the rows,
divided by $n$. So with $s = \sum \bar y$ and $t = \sum \bar y \odot \hat x$ over the rows,

$$\bar x = r \gamma\,\Big(\bar y - \frac sn\Big) + \frac{\bar\mu}n
+ (x - \mu)\,\frac{2 \bar v - r^2 \gamma\,t}n, \qquad
\bar\gamma = t, \qquad \bar\beta = s.$$

$\bar\mu$ and $\bar v$ change numbers that each channel has one of, and cost nothing.

**Residuals.** $x, \gamma$, both inputs, three numbers a channel, and $\beta$ for its dtype.
We recompute $\hat x$.

**Far from zero.** The sum's rounding leaves a rest $\langle x - \mu \rangle$ of some units
in the last place of $\mu$, to which a channel of nearly equal numbers owes digits, and a
constant one its variance. It is added to $\mu$, which becomes two numbers: its sum with the
rest, rounded, and what that leaves. But since it takes two more readings of $x$, this is
done only if there is a channel with $32 \sqrt v < |\mu|$. Otherwise the rest is, compared
with the deviation, at most 32 times what it is compared with $\mu$, a few roundings, and
counts as 0.

**Hard points.** A constant channel has $v = 0$ and $r = \epsilon^{-1/2}$, hence
$y = \beta$, and a finite gradient as long as $\epsilon > 0$. If there is one row, all
channels are constant, and $\bar x = \bar\mu$. If there is none, $\mu$ and $v$ are 0.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from funcnn.foundation._checks import float_arrays, number
from funcnn.foundation._compiler import apart
from funcnn.foundation._cotangents import cast_like
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._dtypes import accumulator, divisor, upcast
from funcnn.foundation._products import matrix
from funcnn.foundation._shapes import scale_and_offset

FAR = 32  # deviations from 0, beyond which the rounding of a mean shows


@partial(custom_vjp, nondiff_argnums=(3,))
def batch_norm(
    x: jax.Array, scale: jax.Array, offset: jax.Array, eps: float = 1e-6
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalise each channel over all axes but the last, then apply `scale` and `offset`.

    Args:
        x: shape `(..., C)`: examples, and positions if there are any.
        scale: shape `(C,)`.
        offset: shape `(C,)`.
        eps: added to the variance, at least 0.

    Returns:
        `y`, of the shape and dtype of `x`, and `mean` and `variance` (biased, without
        `eps`), of shape `(C,)` and at least float32: for running averages, which are the
        caller's. All three are differentiated.

    Raises:
        TypeError: if an array is not floating-point.
        ValueError: if the shapes do not fit, or `eps` is negative.
    """
    return batch_norm_fwd(x, scale, offset, eps)[0]


def batch_norm_fwd(x, scale, offset, eps):
    x, scale, offset = float_arrays("batch_norm", x=x, scale=scale, offset=offset)
    eps = number("batch_norm", "eps", eps, low=0.0)
    scale_and_offset("batch_norm", x, scale, offset, "C")
    mu, rest, variance = statistics(x)
    xf = upcast(x)
    gamma, beta = (upcast(a).astype(xf.dtype) for a in (scale, offset))
    r = jax.lax.rsqrt(variance + eps)

    def affine(r, rest, gamma, beta):
        return jnp.stack([r * gamma, beta - rest * r * gamma])

    factor, shift = apart(affine, x.shape, r, rest, gamma, beta)
    y = (xf - mu) * factor + shift
    # Where the scale differs and x does not, in a vmap or in shard_map, cotangents of x are
    # summed over all scales; the part of statistics would be counted as often, or refused,
    # unless they, too, seem to differ.
    either = gamma == beta
    mean, variance = (jnp.where(either, a, a) for a in (mu, variance))
    return (y.astype(x.dtype), mean, variance), (x, scale, offset, mu, rest, r)


def batch_norm_bwd(eps, residuals, cotangents):
    del eps  # it acts through r
    x, scale, offset, mu, rest, r = residuals
    dy, dmean, dvariance = cotangents
    xf, dyf = upcast(x), upcast(dy)
    sums = total(dyf), total(dyf * (xf - mu))
    gamma = scale.astype(xf.dtype)
    factor, mean, slope, shift, t = apart(
        partial(pulled_back, rows=count(x)),
        x.shape,
        *(*sums, dmean, dvariance, rest, r, gamma),
    )
    dx = (dyf - mean) * factor + (xf - mu) * slope + shift
    return cast_like((dx, t, sums[0]), (x, scale, offset))


def pulled_back(s, t, dmean, dvariance, rest, r, gamma, rows):
    """What `x` and its cotangent are put together by, at each channel, and $t$."""
    t = r * (t - rest * s)
    slope = (2 * dvariance - r * r * gamma * t) / rows
    return jnp.stack([r * gamma, s / rows, slope, dmean / rows - rest * slope, t])


batch_norm.defvjp(batch_norm_fwd, batch_norm_bwd)


def statistics(x):
    """The mean, what rounding it to one number leaves, and the variance."""
    if 0 in x.shape:
        return (jnp.zeros(x.shape[-1:], accumulator(x.dtype)),) * 3

    def near(x, mu, variance):
        del x
        return mu, jnp.zeros_like(mu), variance

    def exact(x, mu, variance):
        away = upcast(x) - mu
        rest = total(away) / count(x)
        variance = total((away - rest) ** 2) / count(x)
        better = mu + rest
        return better, rest - (better - mu), variance

    mu = total(upcast(x)) / count(x)
    variance = total((upcast(x) - mu) ** 2) / count(x)
    far = (FAR * jnp.sqrt(variance) < jnp.abs(mu)).any()
    return jax.lax.cond(far, exact, near, x, mu, variance)


def total(a):
    """The sum over all rows, `(C,)`."""
    return matrix(a).sum(0)


def count(x):
    """How many rows there are; 1 if there are none."""
    return divisor(max(math.prod(x.shape[:-1]), 1))


def batch_norm_reference(x, scale, offset, eps=1e-6):
    """The definition, left to `jax.grad`; statistics of no rows are 0."""
    rows = max(math.prod(x.shape[:-1]), 1)
    axes = tuple(range(x.ndim - 1))
    mean = x.sum(axes) / rows
    variance = ((x - mean) ** 2).sum(axes) / rows
    return scale * (x - mean) / jnp.sqrt(variance + eps) + offset, mean, variance


def batch_norm_cases(rng):
    """Arguments on which every claim is tested."""
    normal = rng.standard_normal
    rows, gamma, beta = normal((5, 4)), normal(4), normal(4)
    odd = rows + 1e3 * (np.arange(5) == 0)[:, None]
    return {
        "rows": (rows, gamma, beta),
        "images, large eps": (normal((2, 3, 2, 4)), gamma, beta, 0.5),
        "sequences": (normal((2, 3, 4)), gamma, beta),
        "3 axes": (normal((2, 1, 3, 2, 4)), gamma, beta),
        "one channel": (normal((6, 1)), normal(1), normal(1)),
        "one row": (rows[:1], gamma, beta, 1e-2),
        "no axes": (rows[0], gamma, beta, 1e-2),
        "far from zero": (1e3 + rows, gamma, beta),
        "one channel far from zero": (rows + 1e3 * (gamma == gamma.max()), gamma, beta),
        "constant channels": (normal((1, 4)).repeat(5, 0), gamma, beta, 1e-2),
        "tiny": (1e-4 * rows, gamma, beta),
        "odd row": (odd, gamma, beta),
        "empty batch": (rows[:0], gamma, beta),
    }
