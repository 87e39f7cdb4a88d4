r"""Dense (fully connected, affine) map of the last axis.

**Forward.** With $x$ of shape $(\ldots, m)$, $W$ of shape $(m, n)$ and $b$ of shape $(n)$,

$$y = x W + b.$$

**Backward.** The map is affine in $x$, in $W$ and in $b$ apart, with the pushforward
$\dot y = \dot x W + x \dot W + \dot b$. Each pullback is the transpose of one term; rows
are all leading axes taken together:

$$\bar x = \bar y\, W^\top, \qquad \bar W = \sum_{\rm rows} x^\top \bar y, \qquad
\bar b = \sum_{\rm rows} \bar y.$$

**Residuals.** $x$ and $W$: both are inputs, so nothing new is stored; $b$ for its dtype.
"""

import jax
import jax.numpy as jnp

from funcnn.foundation._checks import float_arrays
from funcnn.foundation._cotangents import cast_like
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._dtypes import accumulator, promote, upcast
from funcnn.foundation._mesh import by_device
from funcnn.foundation._products import contract, matrix, rows
from funcnn.foundation._shapes import affine


@custom_vjp
def dense(x: jax.Array, weight: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    """Return `x @ weight + bias`.

    Args:
        x: shape `(..., m)`.
        weight: shape `(m, n)`.
        bias: shape `(n,)`, or None for no bias.

    Returns:
        Shape `(..., n)`, of the dtype that the arguments promote to; sums are taken
        in at least float32.

    Raises:
        TypeError: if an argument is not a floating-point array.
        ValueError: if the shapes do not fit.
    """
    return dense_fwd(x, weight, bias)[0]


def dense_fwd(x, weight, bias):
    x, weight, bias = float_arrays(
        "dense", x=x, weight=weight, bias=bias, optional=("bias",)
    )
    affine("dense", x, weight, bias)
    arrays = x, weight, bias
    return by_device(affine_map, arrays, x.ndim > 1)(*arrays), arrays


def affine_map(x, weight, bias):
    dtype = promote(x, weight)
    y = jax.lax.dot_general(
        x.astype(dtype),
        weight.astype(dtype),
        (((x.ndim - 1,), (0,)), ((), ())),
        preferred_element_type=accumulator(dtype),
    )
    if bias is not None:
        dtype = promote(x, weight, bias)
        y = y.astype(accumulator(dtype)) + bias.astype(accumulator(dtype))
    return y.astype(dtype)


def dense_bwd(residuals, dy):
    x, weight, bias = residuals

    def local(x, dy, weight):
        dx = contract(dy, weight, (dy.ndim - 1,), (1,), x.dtype)
        dweight = contract(matrix(x), matrix(dy), (0,), (0,), weight.dtype)
        return dx, (dweight, None if bias is None else upcast(dy).sum(rows(dy)))

    arrays = x, dy, weight
    dx, totals = by_device(local, arrays, 2 * (x.ndim > 1), totals=True)(*arrays)
    return cast_like((dx, *totals), residuals)


dense.defvjp(dense_fwd, dense_bwd)


def dense_reference(x, weight, bias=None):
    """The definition, left to `jax.grad`."""
    y = jnp.einsum("...m,mn->...n", x, weight)
    return y if bias is None else y + bias


def dense_cases(rng):
    """Arguments on which every claim is tested."""
    normal = rng.standard_normal
    return {
        "one row": (normal(3), normal((3, 2)), normal(2)),
        "batch": (normal((4, 3)), normal((3, 2)), normal(2)),
        "no bias": (normal((4, 3)), normal((3, 2))),
        "sequence": (normal((2, 4, 3)), normal((3, 5)), normal(5)),
        "width 1": (normal((4, 1)), normal((1, 1)), normal(1)),
        "empty batch": (normal((0, 3)), normal((3, 2)), normal(2)),
        "badly scaled": (1e6 * normal((4, 3)), 1e-6 * normal((3, 2)), normal(2)),
    }
