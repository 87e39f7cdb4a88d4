r"""Softmax over one axis.

**Forward.** With $m = \max_j x_j$ along the axis,

$$y_i = \frac{e^{x_i - m}}{\sum_j e^{x_j - m}}.$$

**Backward.** From $\dot y_i = y_i\,(\dot x_i - \sum_j y_j \dot x_j)$, that is
$\dot y = (\operatorname{diag} y - y y^\top)\,\dot x$. The matrix is symmetric, so the
pullback is the same map:

$$\bar x = y \odot (\bar y - \textstyle\sum_j y_j\,\bar y_j).$$

**Residuals.** $y$ alone. Rounded to 16 bits, $y$ no longer sums to 1, and where one of it
is near 1 the difference above is lost: of 16 bits, $x$ is kept in place of $y$, which is
computed again. As $\sum_j y_j = 1$, a constant subtracted from all of $\bar y$ changes
nothing; of 16 bits, $\bar y$ at the largest element is, so that its gradient keeps its
digits where its $y_i$ rounds to 1 even in float32.

**Hard points.** An element of $-\infty$ has $y_i = 0$ and $\bar x_i = 0$. A row of nothing
but $-\infty$ gives zeros with zero gradients, as attention wants of a row that is masked
throughout.
"""

from functools import partial

import jax
import jax.numpy as jnp

from funcnn.foundation._checks import axis as checked_axis
from funcnn.foundation._checks import float_arrays
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._dtypes import upcast
from funcnn.kernels._logistic import low


@partial(custom_vjp, nondiff_argnums=(1,))
def softmax(x: jax.Array, axis: int = -1) -> jax.Array:
    """Exponentiate and normalise along `axis`.

    Args:
        x: any shape of at least one axis.
        axis: the axis that sums to 1.

    Returns:
        The shape and dtype of `x`; sums are taken in at least float32.

    Raises:
        TypeError: if `x` is not a floating-point array or `axis` not an integer.
        ValueError: if `x` has no such axis.
    """
    return softmax_fwd(x, axis)[0]


def softmax_fwd(x, axis):
    (x,) = float_arrays("softmax", x=x)
    axis = checked_axis("softmax", axis, x)
    y = normalized(upcast(x), axis).astype(x.dtype)
    return y, x if low(x.dtype) else y


def normalized(xf, axis):
    """Softmax itself, of at least float32."""
    top = jnp.max(xf, axis, keepdims=True, initial=-jnp.inf)
    # bounds, not conditions, which XLA:CPU would not fuse with the rest; a sum that is
    # not 0 has the largest element's 1 in it
    top = jax.lax.stop_gradient(jnp.maximum(top, jnp.finfo(xf.dtype).min))
    e = jnp.exp(xf - top)
    total = jnp.maximum(e.sum(axis, keepdims=True), 0.5)
    return e / total


def softmax_bwd(axis, kept, dy):
    yf, dyf = upcast(kept), upcast(dy)
    if low(kept.dtype):
        dyf = dyf - at_largest(dyf, yf, axis)
        yf = normalized(yf, axis)
    product = yf * dyf
    return ((product - yf * product.sum(axis, keepdims=True)).astype(kept.dtype),)


softmax.defvjp(softmax_fwd, softmax_bwd)


def at_largest(dy, x, axis):
    """The cotangent at the largest of `x`, or at one of them; finite if all are NaN."""
    least = jnp.finfo(dy.dtype).min
    largest = x == x.max(axis, keepdims=True, initial=-jnp.inf)
    there = jnp.where(largest, dy, least).max(axis, keepdims=True, initial=least)
    return jax.lax.stop_gradient(there)


def softmax_reference(x, axis=-1):
    """The definition, left to `jax.grad`; a row of -inf is a row of zeros."""
    top = jax.lax.stop_gradient(x.max(axis, keepdims=True, initial=-jnp.inf))
    e = jnp.exp(x - jnp.where(jnp.isfinite(top), top, 0))
    total = e.sum(axis, keepdims=True)
    return e / jnp.where(total > 0, total, 1)


def softmax_cases(rng):
    """Arguments on which every claim is tested."""
    x = rng.standard_normal((3, 4))
    return {
        "matrix": (x,),
        "first axis": (x, 0),
        "middle axis": (rng.standard_normal((2, 5, 3)), -2),
        "one row": (rng.standard_normal(5),),
        "width 1": (rng.standard_normal((3, 1)),),
        "large": (1e4 * x,),
        "masked": (jnp.where(x > 0.2, -jnp.inf, x).at[0].set(-jnp.inf),),
        "empty": (rng.standard_normal((0, 4)),),
        "16 bits": (jnp.asarray(4 * rng.standard_normal((3, 4)), jnp.bfloat16),),
    }
