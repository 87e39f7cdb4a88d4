"""Dtypes: what arrays promote to, and what sums of them are taken in."""

import jax
import jax.numpy as jnp


def promote(*arrays):
    """The dtype that holds all of `arrays`, also under strict promotion."""
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(*(a.dtype for a in arrays))


def accumulator(dtype):
    """The dtype to sum in: at least float32 (bfloat16 sums lose small terms)."""
    with jax.numpy_dtype_promotion("standard"):
        return jnp.promote_types(dtype, jnp.float32)


def upcast(x):
    """Cast to at least float32 (bfloat16 statistics lose the mean)."""
    return x.astype(accumulator(x.dtype))


def divisor(count):
    """A size to divide by, as a float: Python's integers need not fit into JAX's.

    One that is unknown until an exported program is called stays as it is.
    """
    return float(count) if isinstance(count, int) else count


def floats_as(tree, dtype):
    """`tree` with its floating-point arrays cast to `dtype`, all else as it is."""

    def leaf(a):
        floating = hasattr(a, "dtype") and jnp.issubdtype(a.dtype, jnp.floating)
        return jnp.asarray(a).astype(dtype) if floating else a

    return jax.tree.map(leaf, tree)
