"""Matrix products and sums over rows, taken in at least float32."""

import math

import jax
import jax.numpy as jnp

from funcnn.foundation._cotangents import vary, varying
from funcnn.foundation._dtypes import accumulator, promote


def rows(x):
    """All axes but the last: those over which a per-feature cotangent is summed."""
    return tuple(range(x.ndim - 1))


def matrix(x):
    """All axes but the last in one.

    XLA:CPU would write an operand of a product out turned around that is summed over
    several axes.
    """
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def contract(a, b, a_axes, b_axes, dtype=None, batch=((), ())):
    """Sum `a * b` over paired axes, in at least float32.

    The result has the batch axes (paired too, not summed), the remaining axes of `a`,
    then those of `b`, and `dtype`, by default the one that `a` and `b` promote to.
    """
    common = promote(a, b)
    product = jax.lax.dot_general(
        a.astype(common),
        b.astype(common),
        ((a_axes, b_axes), batch),
        preferred_element_type=accumulator(common),
    )
    return product.astype(dtype or common)


def empty_sum(shape, *arrays):
    """Zeros that products of `arrays` can be added to in a loop.

    They have the dtype that such sums have, and differ along the axes of a mesh, in
    `shard_map`, along which any of the arrays does.
    """
    zeros = jnp.zeros(shape, accumulator(promote(*arrays)))
    return vary(zeros, frozenset().union(*map(varying, arrays)))
