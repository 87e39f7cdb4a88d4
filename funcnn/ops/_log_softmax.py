r"""Logarithm of softmax over one axis.

**Forward.** With $m = \max_j x_j$ along the axis and $\operatorname{lse}$ the logarithm of
the sum of exponentials,

$$y_i = x_i - \operatorname{lse}(x), \qquad
\operatorname{lse}(x) = m + \log \sum_j e^{x_j - m},$$

computed as $(x_i - m) - \log \sum_j e^{x_j - m}$, which keeps the digits by which large
elements differ.

**Backward.** The derivative of $\operatorname{lse}$ is softmax, $p = e^y$, so
$\dot y_i = \dot x_i - \sum_j p_j\,\dot x_j$, whose transpose is

$$\bar x_i = \bar y_i - p_i \sum_j \bar y_j.$$

**Residuals.** $y$ alone: $p = e^y$. Of 16 bits, $x$ in place of $y$, which is computed
again: in bfloat16, $y$ near $-10$ is rounded by up to 0.03, and so $p$ would be by 3 %.
Where one element outweighs all others, $1 - p_i$ is rounded to 0 even in float32, but the
others' share $q = \sum_{j \ne i} p_j$ is not, so that element takes
$\bar x_i = (\bar y_i - \sum_j \bar y_j) + q \sum_j \bar y_j$.

**Hard points.** An element of $-\infty$ stays $-\infty$; its $p_i = 0$, so its cotangent
passes through. A row of nothing but $-\infty$ stays so, with $p = 0$, as in softmax.
"""

from functools import partial

import jax
import jax.numpy as jnp

from funcnn.foundation._checks import axis as checked_axis
from funcnn.foundation._checks import float_arrays
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._dtypes import upcast
from funcnn.kernels._labels import log_normalizer
from funcnn.kernels._logistic import low


@partial(custom_vjp, nondiff_argnums=(1,))
def log_softmax(x: jax.Array, axis: int = -1) -> jax.Array:
    """Subtract the logarithm of the sum of exponentials along `axis`.

    Args:
        x: any shape of at least one axis.
        axis: the axis whose exponentials sum to 1.

    Returns:
        The shape and dtype of `x`; sums are taken in at least float32.

    Raises:
        TypeError: if `x` is not a floating-point array or `axis` not an integer.
        ValueError: if `x` has no such axis.
    """
    return log_softmax_fwd(x, axis)[0]


def log_softmax_fwd(x, axis):
    (x,) = float_arrays("log_softmax", x=x)
    axis = checked_axis("log_softmax", axis, x)
    y = normalized(upcast(x), axis).astype(x.dtype)
    return y, x if low(x.dtype) else y


def normalized(xf, axis):
    """Log-softmax itself, of at least float32."""
    top, log_sum = log_normalizer(xf, axis)
    return xf - top - log_sum


def log_softmax_bwd(axis, kept, dy):
    yf, dyf = upcast(kept), upcast(dy)
    total = dyf.sum(axis, keepdims=True)
    if not low(kept.dtype):
        return ((dyf - jnp.exp(yf) * total).astype(kept.dtype),)
    largest = yf == yf.max(axis, keepdims=True, initial=-jnp.inf)
    p = jnp.exp(normalized(yf, axis))
    others = jnp.where(largest, 0, p).sum(axis, keepdims=True)
    alone = largest & (largest.sum(axis, keepdims=True, dtype=p.dtype) == 1)
    dyf = jnp.where(alone, dyf - total, dyf)  # before anything small is added
    return ((dyf - jnp.where(alone, -others, p) * total).astype(kept.dtype),)


log_softmax.defvjp(log_softmax_fwd, log_softmax_bwd)


def log_softmax_reference(x, axis=-1):
    """The definition, left to `jax.grad`; a row of -inf stays one."""
    top = jax.lax.stop_gradient(x.max(axis, keepdims=True, initial=-jnp.inf))
    top = jnp.where(jnp.isfinite(top), top, 0)
    total = jnp.exp(x - top).sum(axis, keepdims=True)
    return x - top - jnp.log(jnp.where(total > 0, total, 1))


def log_softmax_cases(rng):
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
