r"""NumPy's dot product: inner product, matrix product, and their generalisation.

**Forward.** The last axis of $a$ is summed with the last axis of $b$ but one (its only one,
if $b$ is a vector); $i$, $j$ and $m$ stand for all axes that remain:

$$y[i, j, m] = \sum_k a[i, k]\; b[j, k, m].$$

If either is a number, $y = a\,b$.

**Backward.** From $\dot y = \dot a \cdot b + a \cdot \dot b$, the transpose of each term:

$$\bar a[i, k] = \sum_{j, m} \bar y[i, j, m]\; b[j, k, m], \qquad
\bar b[j, k, m] = \sum_i a[i, k]\; \bar y[i, j, m].$$

**Residuals.** $a$ and $b$: both are inputs, so nothing new is stored.
"""

import jax
import jax.numpy as jnp

from funcnn.foundation._checks import float_arrays
from funcnn.foundation._cotangents import cast_like
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._products import contract


@custom_vjp
def dot(a: jax.Array, b: jax.Array) -> jax.Array:
    """Multiply as `numpy.dot` does. For stacks of matrices, see `matmul`.

    Args:
        a: shape `(..., k)`, or a number.
        b: shape `(k,)` or `(..., k, m)`, or a number.

    Returns:
        The axes of `a` but the last, then those of `b` but `k`, of the dtype that the
        arguments promote to; sums are taken in at least float32.

    Raises:
        TypeError: if an argument is not a floating-point array.
        ValueError: if the shapes do not fit.
    """
    return dot_fwd(a, b)[0]


def dot_fwd(a, b):
    a, b = float_arrays("dot", a=a, b=b)
    a_axis, b_axis = summed_axes(a, b)
    if [a.shape[i] for i in a_axis] != [b.shape[i] for i in b_axis]:
        raise ValueError(
            "dot needs a of shape (..., k) and b of shape (k,) or (..., k, m); "
            f"got a {a.shape} and b {b.shape}."
        )
    return contract(a, b, a_axis, b_axis), (a, b)


def dot_bwd(residuals, dy):
    a, b = residuals
    a_axis, b_axis = summed_axes(a, b)
    a_free = tuple(range(a.ndim - len(a_axis)))
    b_free = tuple(i for i in range(b.ndim) if i not in b_axis)
    da = contract(dy, b, tuple(range(len(a_free), dy.ndim)), b_free, a.dtype)
    db = contract(a, dy, a_free, a_free, b.dtype)
    # k comes first and belongs where b has it
    return cast_like((da, jnp.moveaxis(db, 0, b_axis[0]) if b_axis else db), residuals)


dot.defvjp(dot_fwd, dot_bwd)


def summed_axes(a, b):
    """The one pair of axes to sum over, or none if either is a number."""
    if a.ndim == 0 or b.ndim == 0:
        return (), ()
    return (a.ndim - 1,), (max(b.ndim - 2, 0),)


def dot_reference(a, b):
    """The definition, left to `jax.grad`: all products, then a sum."""
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    if b.ndim == 1:
        return (a * b).sum(-1)
    a = a.reshape(a.shape[:-1] + (1,) * (b.ndim - 2) + a.shape[-1:] + (1,))
    return (a * b).sum(-2)


def dot_cases(rng):
    """Arguments on which every claim is tested."""
    normal = rng.standard_normal
    return {
        "vectors": (normal(4), normal(4)),
        "matrices": (normal((3, 4)), normal((4, 2))),
        "matrix and vector": (normal((3, 4)), normal(4)),
        "vector and matrix": (normal(4), normal((4, 3))),
        "stacks": (normal((2, 3, 4)), normal((5, 4, 2))),
        "stack and vector": (normal((2, 3, 4)), normal(4)),
        "numbers": (normal(()), normal(())),
        "number and matrix": (normal(()), normal((2, 3))),
        "matrix and number": (normal((2, 3)), normal(())),
        "empty": (normal((0, 4)), normal((4, 2))),
    }
