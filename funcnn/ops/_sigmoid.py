r"""Logistic sigmoid.

**Forward.** $y = \sigma(x) = 1 / (1 + e^{-x})$, elementwise.

**Backward.** $\sigma' = \sigma\,(1 - \sigma)$, a diagonal map:

$$\bar x = y\,(1 - y)\,\bar y = \frac{e^{-|x|}}{(1 + e^{-|x|})^2}\,\bar y.$$

**Residuals.** $y$ alone: the derivative needs nothing else, and the next layer keeps $y$ as
its own input anyway. The price: where $y$ has rounded to its limit, 1, the derivative is 0.
Of 16 bits that would be from $x = 6$ on, and so $x$ is kept in place of $y$, and the second
form used.

**Limits.** At $\pm\infty$ the values are 1 and 0 and the derivatives 0.
"""

import jax
import jax.numpy as jnp

from funcnn.foundation._checks import float_arrays
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._dtypes import upcast
from funcnn.kernels._logistic import logistic_slope, low


@custom_vjp
def sigmoid(x: jax.Array) -> jax.Array:
    """Return `1 / (1 + exp(-x))`, elementwise, in the shape and dtype of `x`.

    Raises:
        TypeError: if `x` is not a floating-point array.
    """
    return sigmoid_fwd(x)[0]


def sigmoid_fwd(x):
    (x,) = float_arrays("sigmoid", x=x)
    y = jax.lax.logistic(upcast(x)).astype(x.dtype)
    return y, x if low(x.dtype) else y


def sigmoid_bwd(kept, dy):
    a = upcast(kept)
    slope = logistic_slope(a) if low(kept.dtype) else a * (1 - a)
    return ((slope * upcast(dy)).astype(kept.dtype),)


sigmoid.defvjp(sigmoid_fwd, sigmoid_bwd)


def sigmoid_reference(x):
    """The definition, left to `jax.grad`, in the form that does not overflow."""
    return 0.5 * (1 + jnp.tanh(0.5 * x))


def sigmoid_cases(rng):
    """Arguments on which every claim is tested."""
    return {
        "matrix": (rng.standard_normal((3, 4)),),
        "saturated": (20 * rng.standard_normal((3, 4)),),
        "limits": (jnp.array([-jnp.inf, -1e4, 0.0, 1e4, jnp.inf]),),
        "scalar": (rng.standard_normal(()),),
        "empty": (rng.standard_normal((0, 4)),),
        "16 bits": (jnp.asarray(4 * rng.standard_normal((3, 4)), jnp.bfloat16),),
    }
