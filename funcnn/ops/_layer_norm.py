r"""Layer normalisation over the last axis (Ba, Kiros & Hinton, 2016, arXiv:1607.06450).

**Forward.** Let $\langle a \rangle$ be the mean of $a$ over the last axis. Then

$$\mu = \langle x \rangle, \qquad r = (\langle (x-\mu)^2 \rangle + \epsilon)^{-1/2},
\qquad \hat x = r\,(x - \mu), \qquad y = \gamma \odot \hat x + \beta.$$

**Backward.** Perturbing $x$ by $\dot x$ moves $r$ by
$-r^2 \langle \hat x \odot \dot x \rangle$, hence

$$\dot{\hat x} = r\,(\dot x - \langle \dot x \rangle
- \hat x\,\langle \hat x \odot \dot x \rangle).$$

This linear map equals its transpose, so the pullback applies it to the cotangent of
$\hat x$, which is $g = \gamma \odot \bar y$:

$$\bar x = r\,(g - \langle g \rangle - \hat x\,\langle \hat x \odot g \rangle), \qquad
\bar\gamma = \textstyle\sum_{\rm rows} \bar y \odot \hat x, \qquad
\bar\beta = \textstyle\sum_{\rm rows} \bar y.$$

The rounded $\mu$ leaves a rest $\rho = \langle x - \mu \rangle$ that is not quite 0; it
is taken off too, or a constant row far from 0 would come out as rounding error times $r$.
With it the variance is $\langle (x-\mu)^2 \rangle - \rho^2$: one pass over $x$ finds both
means, and that difference loses nothing but where all of a row is rounding error.

**Residuals.** $x, \gamma, \mu$, the rest, $r$, and $\beta$ for its dtype. We recompute
$\hat x$ from numbers that are $d$ times smaller than it.

**Hard points.** A constant row has variance 0 and $r = \epsilon^{-1/2}$: it maps to
$\beta$, with a finite gradient as long as $\epsilon > 0$. With one feature every row is
constant and $\bar x = 0$.
"""

from functools import partial

import jax
import jax.numpy as jnp

from funcnn.foundation._checks import float_arrays, number
from funcnn.foundation._cotangents import cast_like
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._dtypes import upcast
from funcnn.foundation._mesh import by_device
from funcnn.foundation._shapes import scale_and_offset
from funcnn.kernels._norms import pullback

mean = partial(jnp.mean, axis=-1, keepdims=True)


@partial(custom_vjp, nondiff_argnums=(3,))
def layer_norm(
    x: jax.Array, scale: jax.Array, offset: jax.Array, eps: float = 1e-6
) -> jax.Array:
    """Normalise `x` over its last axis, then apply `scale` and `offset`.

    Args:
        x: shape `(..., d)`.
        scale: shape `(d,)`.
        offset: shape `(d,)`.
        eps: added to the variance, at least 0.

    Returns:
        Shape `(..., d)` and dtype of `x`; statistics are computed in at least float32.

    Raises:
        TypeError: if an array is not floating-point.
        ValueError: if the shapes do not fit, or `eps` is negative.
    """
    return layer_norm_fwd(x, scale, offset, eps)[0]


def layer_norm_fwd(x, scale, offset, eps):
    x, scale, offset = float_arrays("layer_norm", x=x, scale=scale, offset=offset)
    eps = number("layer_norm", "eps", eps, low=0.0)
    scale_and_offset("layer_norm", x, scale, offset)

    def local(x, scale, offset):
        xf, gamma, beta = upcast(x), upcast(scale), upcast(offset)
        mu = mean(xf)
        rest, square = mean(xf - mu), mean((xf - mu) ** 2)
        r = jax.lax.rsqrt(jnp.maximum(square - rest**2, 0) + eps)
        y = gamma.astype(xf.dtype) * ((xf - mu) - rest) * r + beta.astype(xf.dtype)
        return y.astype(x.dtype), mu, rest, r

    arrays = x, scale, offset
    y, *statistics = by_device(local, arrays, x.ndim > 1)(*arrays)
    return y, (*arrays, *statistics)


def layer_norm_bwd(eps, residuals, dy):
    del eps  # it acts through r
    x, scale, offset, mu, rest, r = residuals
    xf, dyf = upcast(x), upcast(dy)

    def normalized(x, mu, rest, r):
        return ((x - mu) - rest) * r

    found = pullback(normalized, True, xf, dyf, scale.astype(xf.dtype), mu, rest, r)
    return cast_like(found, (x, scale, offset))


layer_norm.defvjp(layer_norm_fwd, layer_norm_bwd)


def layer_norm_reference(x, scale, offset, eps=1e-6):
    """The definition, left to `jax.grad`."""
    return scale * (x - mean(x)) / jnp.sqrt(x.var(-1, keepdims=True) + eps) + offset


def layer_norm_cases(rng):
    """Arguments on which every claim is tested."""
    normal = rng.standard_normal
    return {
        "one row": (normal(5), normal(5), normal(5)),
        "batch": (normal((3, 5)), normal(5), normal(5)),
        "sequence, large eps": (normal((2, 3, 5)), normal(5), normal(5), 0.5),
        "one feature": (normal((4, 1)), normal(1), normal(1)),
        "far from zero": (1e3 + normal((3, 5)), normal(5), normal(5)),
        "constant rows": (normal((3, 1)).repeat(4, 1), normal(4), normal(4), 1e-2),
        "tiny": (1e-4 * normal((3, 5)), normal(5), normal(5)),
        "empty batch": (normal((0, 5)), normal(5), normal(5)),
    }
