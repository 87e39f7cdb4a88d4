r"""Exponential linear unit (Clevert, Unterthiner & Hochreiter, 2015, arXiv:1511.07289).

**Forward.** $y = x$ where $x > 0$ and $y = \alpha\,(e^x - 1)$ elsewhere.

**Backward.** The map is diagonal:

$$\bar x = \bar y \ \text{ where } x > 0, \qquad
\bar x = \alpha\,e^x\,\bar y \ \text{ elsewhere.}$$

At the kink (there is one unless $\alpha = 1$) the derivative is the left one, $\alpha$.

**Residuals.** $x$. Far below 0, $\alpha e^x$ from $x$ keeps its digits, where
$y + \alpha$ cancels.

**Limits.** $y(-\infty) = -\alpha$ with derivative 0. The exponential is taken of
$\min(x, 0)$, so that it cannot overflow where it is not used.
"""

from functools import partial

import jax
import jax.numpy as jnp

from funcnn.foundation._checks import float_arrays, number
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._dtypes import upcast
from funcnn.kernels._logistic import low, small


@partial(custom_vjp, nondiff_argnums=(1,))
def elu(x: jax.Array, alpha: float = 1.0) -> jax.Array:
    """Return `x` where positive and `alpha * (exp(x) - 1)` elsewhere.

    Args:
        x: any shape.
        alpha: minus the limit at minus infinity, a number.

    Returns:
        The shape and dtype of `x`.

    Raises:
        TypeError: if `x` is not a floating-point array or `alpha` not a number.
    """
    return elu_fwd(x, alpha)[0]


def elu_fwd(x, alpha):
    (x,) = float_arrays("elu", x=x)
    alpha = number("elu", "alpha", alpha)
    xf = upcast(x)
    y = jnp.where(xf > 0, xf, alpha * jnp.expm1(jnp.where(xf > 0, 0, xf)))
    return y.astype(x.dtype), x


def elu_bwd(alpha, x, dy):
    xf, dyf = upcast(x), upcast(dy)
    below = jnp.where(xf > 0, 0, xf)
    slope = float(alpha) * jnp.exp(below)
    if low(x.dtype):  # alpha may be so large that it matters where the exponential is lost
        far = jnp.minimum(below, -80)
        slope = jnp.where(below < -80, small(float(alpha), far), slope)
    slope = jnp.where(xf > 0, 1, slope)
    return ((slope * dyf).astype(x.dtype),)


elu.defvjp(elu_fwd, elu_bwd)


def elu_reference(x, alpha=1.0):
    """The definition, left to `jax.grad`."""
    low = jnp.where(x > 0, 0, x)
    return jnp.where(x > 0, x, alpha * (jnp.exp(low) - 1))


def elu_cases(rng):
    """Arguments on which every claim is tested."""
    return {
        "matrix": (rng.standard_normal((3, 4)),),
        "alpha": (rng.standard_normal((3, 4)), 2.5),
        "kink": (rng.integers(-1, 2, (3, 4)).astype(float), 2.5),
        "large": (30 * rng.standard_normal((3, 4)), 2.5),
        "limits": (jnp.array([-jnp.inf, -1e4, 1e4, jnp.inf]),),
        "empty": (rng.standard_normal((0, 4)),),
        "16 bits": (jnp.asarray(4 * rng.standard_normal((3, 4)), jnp.bfloat16),),
    }
