r"""Rectified linear unit.

**Forward.** $y = \max(x, 0)$, elementwise.

**Backward.** $\dot y = [x > 0]\,\dot x$, and a diagonal map is its own transpose:

$$\bar x = [x > 0]\,\bar y.$$

At the kink $x = 0$ the derivative is taken to be 0, one of its subgradients. NaN stays NaN.

**Residuals.** $y$, whose sign tells what that of $x$ would: the next layer keeps $y$ as its
own input anyway, so $x$ can be freed.
"""

import jax
import jax.numpy as jnp

from funcnn.foundation._checks import float_arrays
from funcnn.foundation._custom_vjp import custom_vjp


@custom_vjp
def relu(x: jax.Array) -> jax.Array:
    """Return `max(x, 0)`, elementwise, in the shape and dtype of `x`.

    The derivative at 0 is 0.

    Raises:
        TypeError: if `x` is not a floating-point array.
    """
    return relu_fwd(x)[0]


def relu_fwd(x):
    (x,) = float_arrays("relu", x=x)
    y = jnp.where(x <= 0, 0, x)  # not maximum, which autodiff gives slope 1/2 at 0
    return y, y


def relu_bwd(y, dy):
    return (jnp.where(y > 0, dy, 0),)


relu.defvjp(relu_fwd, relu_bwd)


def relu_reference(x):
    """The definition, left to `jax.grad`."""
    return jnp.where(x > 0, x, 0)


def relu_cases(rng):
    """Arguments on which every claim is tested."""
    return {
        "matrix": (rng.standard_normal((3, 4)),),
        "kink": (rng.integers(-1, 2, (3, 4)).astype(float),),
        "limits": (jnp.array([-jnp.inf, -1e300, -0.0, 1e300, jnp.inf]),),
        "scalar": (rng.standard_normal(()),),
        "empty": (rng.standard_normal((0, 4)),),
    }
