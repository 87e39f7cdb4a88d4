r"""Root-mean-square normalisation over the last axis.

Zhang & Sennrich, 2019, arXiv:1910.07467.

**Forward.** Let $\langle a \rangle$ be the mean of $a$ over the last axis. Then

$$r = (\langle x^2 \rangle + \epsilon)^{-1/2}, \qquad \hat x = r\,x, \qquad
y = \gamma \odot \hat x.$$

**Backward.** Perturbing $x$ by $\dot x$ moves $r$ by
$-r^2 \langle \hat x \odot \dot x \rangle$, hence

$$\dot{\hat x} = r\,(\dot x - \hat x\,\langle \hat x \odot \dot x \rangle).$$

This linear map equals its transpose, so the pullback applies it to the cotangent of
$\hat x$, which is $g = \gamma \odot \bar y$:

$$\bar x = r\,(g - \hat x\,\langle \hat x \odot g \rangle), \qquad
\bar\gamma = \textstyle\sum_{\rm rows} \bar y \odot \hat x.$$

**Residuals.** $x$, $\gamma$ (both inputs) and $r$, one number a row. We recompute $\hat x$.

**Hard points.** A row of zeros has $r = \epsilon^{-1/2}$: it maps to 0, with a finite
gradient as long as $\epsilon > 0$.
"""

from functools import partial

import jax
import jax.numpy as jnp

from funcnn.foundation._checks import float_arrays, number
from funcnn.foundation._cotangents import cast_like
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._dtypes import upcast
from funcnn.foundation._mesh import by_device
from funcnn.kernels._norms import pullback

mean = partial(jnp.mean, axis=-1, keepdims=True)


@partial(custom_vjp, nondiff_argnums=(2,))
def rms_norm(x: jax.Array, scale: jax.Array, eps: float = 1e-6) -> jax.Array:
    """Divide `x` by its root mean square over the last axis, then multiply by `scale`.

    Args:
        x: shape `(..., d)`.
        scale: shape `(d,)`.
        eps: added to the mean square, at least 0.

    Returns:
        Shape `(..., d)` and dtype of `x`; the mean square is computed in at least float32.

    Raises:
        TypeError: if an array is not floating-point.
        ValueError: if the shapes do not fit, or `eps` is negative.
    """
    return rms_norm_fwd(x, scale, eps)[0]


def rms_norm_fwd(x, scale, eps):
    x, scale = float_arrays("rms_norm", x=x, scale=scale)
    eps = number("rms_norm", "eps", eps, low=0.0)
    if not x.ndim or x.shape[-1:] != scale.shape:
        raise ValueError(
            f"rms_norm needs scale of shape {x.shape[-1:] or '(d,)'} for x of shape "
            f"{x.shape}; got {scale.shape}."
        )

    def local(x, scale):
        xf = upcast(x)
        r = jax.lax.rsqrt(mean(xf**2) + eps)
        y = upcast(scale).astype(xf.dtype) * (xf * r)
        return y.astype(x.dtype), r

    y, r = by_device(local, (x, scale), x.ndim > 1)(x, scale)
    return y, (x, scale, r)


def rms_norm_bwd(eps, residuals, dy):
    del eps  # it acts through r
    x, scale, r = residuals
    xf, dyf = upcast(x), upcast(dy)

    def normalized(x, r):
        return x * r

    found = pullback(normalized, False, xf, dyf, scale.astype(xf.dtype), r)
    return cast_like(found, (x, scale))


rms_norm.defvjp(rms_norm_fwd, rms_norm_bwd)


def rms_norm_reference(x, scale, eps=1e-6):
    """The definition, left to `jax.grad`."""
    return scale * x / jnp.sqrt(mean(x**2) + eps)


def rms_norm_cases(rng):
    """Arguments on which every claim is tested."""
    normal = rng.standard_normal
    return {
        "one row": (normal(5), normal(5)),
        "batch": (normal((3, 5)), normal(5)),
        "sequence, large eps": (normal((2, 3, 5)), normal(5), 0.5),
        "one feature": (normal((4, 1)), normal(1)),
        "a row of zeros": (normal((3, 4)) * [[1], [0], [1]], normal(4), 1e-2),
        "large": (1e3 * normal((3, 5)), normal(5)),
        "tiny": (1e-4 * normal((3, 5)), normal(5)),
        "empty batch": (normal((0, 5)), normal(5)),
    }
