r"""Hyperbolic tangent.

**Forward.** $y = \tanh x$, elementwise.

**Backward.** $\tanh' = 1 - \tanh^2$, a diagonal map:

$$\bar x = (1 - y^2)\,\bar y = \frac{4\,e^{-2|x|}}{(1 + e^{-2|x|})^2}\,\bar y.$$

**Residuals.** $y$ alone: the derivative needs nothing else, and the next layer keeps $y$ as
its own input anyway. The price: where $y$ has rounded to its limit, the derivative is 0.
Of 16 bits that would be from $|x| = 3.6$ on, and so $x$ is kept in place of $y$, and the
second form used.

**Limits.** At $\pm\infty$ the values are $\pm 1$ and the derivatives 0.
"""

import jax
import jax.numpy as jnp

from funcnn.foundation._checks import float_arrays
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._dtypes import upcast
from funcnn.kernels._logistic import low, tanh_slope


@custom_vjp
def tanh(x: jax.Array) -> jax.Array:
    """Return the hyperbolic tangent, elementwise, in the shape and dtype of `x`.

    Raises:
        TypeError: if `x` is not a floating-point array.
    """
    return tanh_fwd(x)[0]


def tanh_fwd(x):
    (x,) = float_arrays("tanh", x=x)
    y = jnp.tanh(upcast(x)).astype(x.dtype)
    return y, x if low(x.dtype) else y


def tanh_bwd(kept, dy):
    a = upcast(kept)
    # (1 - y) (1 + y) rather than 1 - y^2, which cancels near saturation
    slope = tanh_slope(a) if low(kept.dtype) else (1 - a) * (1 + a)
    return ((slope * upcast(dy)).astype(kept.dtype),)


tanh.defvjp(tanh_fwd, tanh_bwd)


def tanh_reference(x):
    """The definition, left to `jax.grad`, in exponentials that do not overflow."""
    e = jnp.exp(-2 * jnp.where(x > 0, x, -x))
    return jnp.where(x > 0, 1, -1) * (1 - e) / (1 + e)


def tanh_cases(rng):
    """Arguments on which every claim is tested."""
    return {
        "matrix": (rng.standard_normal((3, 4)),),
        "saturated": (10 * rng.standard_normal((3, 4)),),
        "limits": (jnp.array([-jnp.inf, -1e4, 0.0, 1e4, jnp.inf]),),
        "scalar": (rng.standard_normal(()),),
        "empty": (rng.standard_normal((0, 4)),),
        "16 bits": (jnp.asarray(4 * rng.standard_normal((3, 4)), jnp.bfloat16),),
    }
