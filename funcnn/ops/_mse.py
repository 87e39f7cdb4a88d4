r"""Squared error of each element.

**Forward.** $y = (p - t)^2$ for a prediction $p$ and a target $t$. `losses.mse` takes the
mean.

**Backward.** $\dot y = 2\,(p - t)\,(\dot p - \dot t)$, a diagonal map in each argument:

$$\bar p = 2\,(p - t)\,\bar y, \qquad \bar t = -\bar p.$$

**Residuals.** $p$ and $t$: both are inputs, so nothing new is stored.
"""

import jax
import jax.numpy as jnp

from funcnn.foundation._checks import float_arrays
from funcnn.foundation._cotangents import cast_like
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._dtypes import accumulator, promote
from funcnn.foundation._shapes import same_shape


@custom_vjp
def mse(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Return `(prediction - target) ** 2`, elementwise.

    Args:
        prediction: any shape.
        target: the same shape: broadcasting a target is nearly always a mistake.

    Returns:
        The shape of both, in at least float32.

    Raises:
        TypeError: if an argument is not a floating-point array.
        ValueError: if the shapes differ.
    """
    return mse_fwd(prediction, target)[0]


def mse_fwd(prediction, target):
    prediction, target = float_arrays("mse", prediction=prediction, target=target)
    same_shape("mse", prediction=prediction, target=target)
    return difference(prediction, target) ** 2, (prediction, target)


def mse_bwd(residuals, dy):
    dprediction = 2 * difference(*residuals) * dy
    return cast_like((dprediction, -dprediction), residuals)


mse.defvjp(mse_fwd, mse_bwd)


def difference(prediction, target):
    dtype = accumulator(promote(prediction, target))
    return prediction.astype(dtype) - target.astype(dtype)


def mse_reference(prediction, target):
    """The definition, left to `jax.grad`."""
    return (prediction - target) ** 2


def mse_cases(rng):
    """Arguments on which every claim is tested."""
    normal = rng.standard_normal
    return {
        "matrix": (normal((3, 4)), normal((3, 4))),
        "equal": (jnp.arange(3.0), jnp.arange(3.0)),
        "scalar": (normal(()), normal(())),
        "badly scaled": (1e6 + normal((3, 4)), normal((3, 4))),
        "empty": (normal((0, 4)), normal((0, 4))),
    }
