r"""Softplus, a smooth relu.

**Forward.** $y = \log(1 + e^x) = \max(x, 0) + \log(1 + e^{-|x|})$, elementwise; the second
form neither overflows nor loses digits.

**Backward.** The derivative is the logistic sigmoid, a diagonal map:

$$\bar x = \sigma(x)\,\bar y.$$

**Residuals.** $x$.

**Limits.** $y(-\infty) = 0$ with derivative 0; $y(+\infty) = \infty$ with derivative 1.
"""

import jax
import jax.numpy as jnp

from funcnn.foundation._checks import float_arrays
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._dtypes import upcast
from funcnn.kernels._logistic import softplus as stable


@custom_vjp
def softplus(x: jax.Array) -> jax.Array:
    """Return `log(1 + exp(x))`, elementwise, in the shape and dtype of `x`.

    Raises:
        TypeError: if `x` is not a floating-point array.
    """
    return softplus_fwd(x)[0]


def softplus_fwd(x):
    (x,) = float_arrays("softplus", x=x)
    return stable(upcast(x)).astype(x.dtype), x


def softplus_bwd(x, dy):
    xf, dyf = upcast(x), upcast(dy)
    return ((jax.lax.logistic(xf) * dyf).astype(x.dtype),)


softplus.defvjp(softplus_fwd, softplus_bwd)


def softplus_reference(x):
    """The definition, left to `jax.grad`; the plain form where it does not overflow."""
    plain = jnp.log(1 + jnp.exp(jnp.where(x > 50, 0, x)))
    return jnp.where(x > 50, x, plain)


def softplus_cases(rng):
    """Arguments on which every claim is tested."""
    return {
        "matrix": (rng.standard_normal((3, 4)),),
        "large": (30 * rng.standard_normal((3, 4)),),
        "limits": (jnp.array([-jnp.inf, -1e4, 0.0, 1e4, jnp.inf]),),
        "scalar": (rng.standard_normal(()),),
        "empty": (rng.standard_normal((0, 4)),),
    }
