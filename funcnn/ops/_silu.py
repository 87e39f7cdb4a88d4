r"""Sigmoid linear unit, or swish (Elfwing, Uchibe & Doya, 2017, arXiv:1702.03118).

**Forward.** $y = x\,\sigma(x)$ with $\sigma(x) = 1 / (1 + e^{-x})$, elementwise.

**Backward.** By the product rule and $\sigma' = \sigma\,(1 - \sigma)$, a diagonal map:

$$\bar x = \sigma\,(1 + x\,(1 - \sigma))\,\bar y.$$

**Residuals.** $x$: $\sigma$ costs less to compute again than to keep, and $y$ does not
determine $x$, since the function has a minimum.

**Limits.** $y(-\infty) = 0$ with derivative 0, and the derivative at $+\infty$ is 1. The
products $\infty \cdot 0$ are avoided by holding $x$ within $\pm 10^3$, where both have long
reached their limits in every dtype.
"""

import jax
import jax.numpy as jnp

from funcnn.foundation._checks import float_arrays
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._dtypes import upcast
from funcnn.kernels._logistic import low, small


@custom_vjp
def silu(x: jax.Array) -> jax.Array:
    """Return `x * sigmoid(x)`, elementwise, in the shape and dtype of `x`.

    Raises:
        TypeError: if `x` is not a floating-point array.
    """
    return silu_fwd(x)[0]


def silu_fwd(x):
    (x,) = float_arrays("silu", x=x)
    return activation(upcast(x)).astype(x.dtype), x


def silu_bwd(x, dy):
    return ((slope(upcast(x), low(x.dtype)) * upcast(dy)).astype(x.dtype),)


silu.defvjp(silu_fwd, silu_bwd)


def activation(x, to_the_last=False):
    """Silu; `to_the_last`, also where float32 loses the sigmoid but not that."""
    held, s = factors(x)
    if not to_the_last:
        return held * s
    far = jnp.minimum(held, -80)
    return jnp.where(held < -80, small(far, far), held * s)


def slope(x, to_the_last=False):
    """The derivative; `to_the_last`, also where float32 loses the sigmoid but not that."""
    held, s = factors(x)
    found = s * (1 + jnp.minimum(held, 1e3) * (1 - s))
    if not to_the_last:
        return found
    far = jnp.minimum(held, -80)
    return jnp.where(held < -80, small(1 + far, far), found)


def factors(x):
    """`x`, held above where silu has reached 0, and its sigmoid."""
    held = jnp.maximum(x, -1e3)
    return held, jax.lax.logistic(held)


def silu_reference(x):
    """The definition, left to `jax.grad`."""
    return x / (1 + jnp.exp(-x))


def silu_cases(rng):
    """Arguments on which every claim is tested."""
    return {
        "matrix": (rng.standard_normal((3, 4)),),
        "large": (20 * rng.standard_normal((3, 4)),),
        "at 0": (jnp.zeros((3, 4)),),
        "scalar": (rng.standard_normal(()),),
        "empty": (rng.standard_normal((0, 4)),),
        "16 bits": (jnp.asarray(4 * rng.standard_normal((3, 4)), jnp.bfloat16),),
    }
