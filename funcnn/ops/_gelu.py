r"""Gaussian error linear unit (Hendrycks & Gimpel, 2016, arXiv:1606.08415).

**Forward.** $y = x\,\Phi(x)$, where $\Phi$ is the normal distribution function; exactly, or
by the authors' approximation with $u = \sqrt{2/\pi}\,(x + 0.044715\,x^3)$:

$$\Phi(x) = \tfrac12 \operatorname{erfc}(-x / \sqrt 2) \qquad\text{or}\qquad
\Phi(x) \approx \tfrac12\,(1 + \tanh u) = \sigma(2u).$$

**Backward.** A diagonal map, $\bar x = (\Phi + x\,\Phi')\,\bar y$, with

$$\Phi' = \frac{e^{-x^2/2}}{\sqrt{2\pi}} \qquad\text{or}\qquad
\Phi' \approx 2\,\sigma(2u)\,(1 - \sigma(2u))\,\sqrt{2/\pi}\,(1 + 3 \cdot 0.044715\,x^2).$$

One $\sigma(2u)$ serves both. Its own derivative is given in $\sigma$, as that of $1 / (1 +
e^{-2u})$ would be $\infty \cdot 0$ where $e^{-2u}$ overflows. Where it is near 1, the
difference from 1 has few digits left, of which the slope, near 1 too, has no use.

**Residuals.** $x$: autodiff would keep several intermediates of its size, all cheap to
compute again.

**Limits.** $y(-\infty) = 0$ with derivative 0, and the derivative at $+\infty$ is 1. The
products $\infty \cdot 0$ are avoided by holding $x$ within $\pm 10^2$, where $\Phi$ has
long reached its limits in every dtype. $\operatorname{erfc}$ and $\sigma$, unlike
$1 + \operatorname{erf}$ and $1 + \tanh$, keep their digits in the left tail.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp

from funcnn.foundation._checks import boolean, float_arrays
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._dtypes import upcast
from funcnn.kernels._logistic import inverse_odds, low, small

ROOT = math.sqrt(2 / math.pi)
CUBIC = 0.044715


@partial(custom_vjp, nondiff_argnums=(1,))
def gelu(x: jax.Array, approximate: bool = True) -> jax.Array:
    """Return `x * Phi(x)`, elementwise, in the shape and dtype of `x`.

    Args:
        x: any shape.
        approximate: whether to use the tanh approximation (the default, as in
            `jax.nn.gelu`) rather than the error function.

    Raises:
        TypeError: if `x` is not a floating-point array or `approximate` not a bool.
    """
    return gelu_fwd(x, approximate)[0]


def gelu_fwd(x, approximate):
    (x,) = float_arrays("gelu", x=x)
    boolean("gelu", "approximate", approximate)
    return activation(upcast(x), approximate).astype(x.dtype), x


def gelu_bwd(approximate, x, dy):
    found = slope(upcast(x), approximate, low(x.dtype))
    return ((found * upcast(dy)).astype(x.dtype),)


gelu.defvjp(gelu_fwd, gelu_bwd)


def activation(x, approximate, to_the_last=False):
    """Gelu; `to_the_last`, also where float32 loses Phi but not that."""
    held = jnp.maximum(x, -1e2)
    if approximate:
        found = held * inverse_odds(exponent(jnp.minimum(held, 1e2)))
        far = jnp.minimum(held, -9)
        factor, power = far, -exponent(far)
    else:
        found = held * (0.5 * jax.lax.erfc(-math.sqrt(0.5) * held))
        far = jnp.minimum(held, -12.5)  # Phi by its asymptotic series
        factor = -(1 - (1 - 3 / far**2) / far**2) / math.sqrt(2 * math.pi)
        power = -0.5 * far**2
    return jnp.where(held <= far, small(factor, power), found) if to_the_last else found


def slope(x, approximate, to_the_last=False):
    """The derivative; `to_the_last`, also where float32 loses Phi but not that."""
    held = jnp.maximum(x, -1e2)  # as above, so that both share what is costly
    near = jnp.minimum(held, 1e2)
    if approximate:
        below = inverse_odds(exponent(near))
        found = below + near * (rise(near) * (below * (1 - below)))
        far = jnp.minimum(near, -9)
        factor, power = 1 + far * rise(far), -exponent(far)
    else:
        below = 0.5 * jax.lax.erfc(-math.sqrt(0.5) * held)
        found = below + near * (jnp.exp(-0.5 * near**2) / math.sqrt(2 * math.pi))
        far = jnp.minimum(near, -12.5)  # Phi by its asymptotic series
        factor = (far - (1 - 1 / far**2) / far) / math.sqrt(2 * math.pi)
        power = -0.5 * far**2
    return jnp.where(near <= far, small(factor, power), found) if to_the_last else found


def rise(x):
    """The derivative of `2 u`."""
    return 2 * ROOT * (1 + 3 * CUBIC * x**2)


def exponent(x):
    """`-2 u`."""
    return x * (-2 * ROOT - 2 * ROOT * CUBIC * x**2)


def gelu_reference(x, approximate=True):
    """The definition, left to `jax.grad`."""
    if approximate:
        return 0.5 * x * (1 + jnp.tanh(ROOT * (x + CUBIC * x**3)))
    return 0.5 * x * (1 + jax.lax.erf(x / math.sqrt(2)))


def gelu_cases(rng):
    """Arguments on which every claim is tested."""
    return {
        "tanh": (rng.standard_normal((3, 4)),),
        "exact": (rng.standard_normal((3, 4)), False),
        "tanh, large": (10 * rng.standard_normal((3, 4)),),
        "exact, large": (10 * rng.standard_normal((3, 4)), False),
        "at 0": (jnp.zeros((3, 4)), False),
        "empty": (rng.standard_normal((0, 4)),),
        "16 bits": (jnp.asarray(4 * rng.standard_normal((3, 4)), jnp.bfloat16),),
    }
