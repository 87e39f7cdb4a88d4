r"""Matrix product, batched, with broadcasting batch axes.

**Forward.** For $a$ of shape $(\ldots, n, k)$ and $b$ of shape $(\ldots, k, m)$, with the
leading axes broadcast against each other,

$$y = a\,b, \qquad y[\ldots, i, j] = \sum_l a[\ldots, i, l]\; b[\ldots, l, j].$$

A vector on the left is one row, on the right one column, and that axis is dropped again.

**Backward.** From $\dot y = \dot a\,b + a\,\dot b$, the transpose of each term is

$$\bar a = \bar y\,b^\top, \qquad \bar b = a^\top \bar y,$$

summed over every axis along which the argument was broadcast: the transpose of copying is
adding up.

**Residuals.** $a$ and $b$: both are inputs, so nothing new is stored.
"""

import jax
import jax.numpy as jnp

from funcnn.foundation._checks import float_arrays
from funcnn.foundation._cotangents import cast_like, unbroadcast
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._dtypes import accumulator, promote


@custom_vjp
def matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    """Multiply matrices, or stacks of them.

    Args:
        a: shape `(..., n, k)` or `(k,)`.
        b: shape `(..., k, m)` or `(k,)`; leading axes broadcast against those of `a`.

    Returns:
        Shape `(..., n, m)`, without `n` or `m` for a vector, of the dtype that the
        arguments promote to; sums are taken in at least float32.

    Raises:
        TypeError: if an argument is not a floating-point array.
        ValueError: if the shapes do not fit.
    """
    return matmul_fwd(a, b)[0]


def matmul_fwd(a, b):
    a, b = float_arrays("matmul", a=a, b=b)
    fits = a.ndim and b.ndim and a.shape[-1] == b.shape[max(b.ndim - 2, 0)]
    try:
        jnp.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            "matmul needs a of shape (..., n, k) and b of shape (..., k, m) whose leading "
            f"axes broadcast; got a {a.shape} and b {b.shape}."
        )
    return product(a, b).astype(promote(a, b)), (a, b)


def matmul_bwd(residuals, dy):
    a, b = residuals
    row, column = a.ndim == 1, b.ndim == 1
    rows = a[None, :] if row else a
    columns = b[:, None] if column else b
    if column:
        dy = dy[..., None]
    if row:
        dy = dy[..., None, :]
    da = product(dy, columns.mT)
    db = product(rows.mT, dy)
    da = unbroadcast(da, rows.shape).reshape(a.shape)
    db = unbroadcast(db, columns.shape).reshape(b.shape)
    return cast_like((da, db), residuals)


matmul.defvjp(matmul_fwd, matmul_bwd)


def product(a, b):
    common = promote(a, b)
    return jnp.matmul(
        a.astype(common), b.astype(common), preferred_element_type=accumulator(common)
    )


def matmul_reference(a, b):
    """The definition, left to `jax.grad`: products, then a sum."""
    if b.ndim == 1:
        return (a * b).sum(-1)
    if a.ndim == 1:
        return (a[:, None] * b).sum(-2)
    return (a[..., :, :, None] * b[..., None, :, :]).sum(-2)


def matmul_cases(rng):
    """Arguments on which every claim is tested."""
    normal = rng.standard_normal
    return {
        "matrices": (normal((3, 4)), normal((4, 2))),
        "batch": (normal((5, 3, 4)), normal((5, 4, 2))),
        "broadcast left": (normal((3, 4)), normal((5, 4, 2))),
        "broadcast both": (normal((2, 1, 3, 4)), normal((5, 4, 2))),
        "vector left": (normal(4), normal((3, 4, 2))),
        "vector right": (normal((3, 2, 4)), normal(4)),
        "vectors": (normal(4), normal(4)),
        "width 1": (normal((3, 1)), normal((1, 1))),
        "empty batch": (normal((0, 3, 4)), normal((4, 2))),
        "badly scaled": (1e6 * normal((5, 3, 4)), 1e-6 * normal((5, 4, 2))),
    }
