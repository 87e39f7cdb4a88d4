r"""Leaky rectified linear unit (Maas, Hannun & Ng, 2013).

**Forward.** With slope $a$, $y = x$ where $x > 0$ and $y = a x$ elsewhere.

**Backward.** The map is diagonal, with slope 1 or $a$:

$$\bar x = \bar y \ \text{ where } x > 0, \qquad \bar x = a\,\bar y \ \text{ elsewhere.}$$

At the kink $x = 0$ the derivative is taken to be $a$ (as in PyTorch), so that $a = 0$ is
relu.

**Residuals.** $x$: the sign of $y$ would not tell it when $a < 0$.

**Limits.** With $a = 0$ the product $a \cdot (-\infty)$ is not formed: $y(-\infty) = 0$.
NaN stays NaN. $a$ is not rounded to 16 bits: products are rounded once.
"""

from functools import partial

import jax
import jax.numpy as jnp

from funcnn.foundation._checks import float_arrays, number
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._dtypes import upcast


@partial(custom_vjp, nondiff_argnums=(1,))
def leaky_relu(x: jax.Array, negative_slope: float = 0.01) -> jax.Array:
    """Return `x` where positive and `negative_slope * x` elsewhere.

    Args:
        x: any shape.
        negative_slope: the derivative at and below 0, a number.

    Returns:
        The shape and dtype of `x`.

    Raises:
        TypeError: if `x` is not a floating-point array or the slope not a number.
    """
    return leaky_relu_fwd(x, negative_slope)[0]


def leaky_relu_fwd(x, negative_slope):
    (x,) = float_arrays("leaky_relu", x=x)
    negative_slope = number("leaky_relu", "negative_slope", negative_slope)
    xf = upcast(x)
    below = negative_slope * xf if negative_slope else jnp.where(jnp.isnan(xf), xf, 0)
    return jnp.where(xf > 0, xf, below).astype(x.dtype), x


def leaky_relu_bwd(negative_slope, x, dy):
    below = (float(negative_slope) * upcast(dy)).astype(dy.dtype)
    return (jnp.where(x > 0, dy, below),)


leaky_relu.defvjp(leaky_relu_fwd, leaky_relu_bwd)


def leaky_relu_reference(x, negative_slope=0.01):
    """The definition, left to `jax.grad`."""
    return jnp.where(x > 0, x, negative_slope * x)


def leaky_relu_cases(rng):
    """Arguments on which every claim is tested."""
    return {
        "matrix": (rng.standard_normal((3, 4)),),
        "steep": (rng.standard_normal((3, 4)), 2.5),
        "negative slope": (rng.standard_normal((3, 4)), -0.5),
        "kink": (rng.integers(-1, 2, (3, 4)).astype(float), 2.5),
        "limits": (jnp.array([-jnp.inf, -1e300, 1e300, jnp.inf]), 0.3),
        "empty": (rng.standard_normal((0, 4)),),
    }
