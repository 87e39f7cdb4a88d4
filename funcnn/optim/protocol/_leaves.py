"""A function of one leaf in, one of pytrees out, computed in at least float32."""

import jax
import jax.numpy as jnp

from funcnn.foundation._dtypes import accumulator, promote
from funcnn.optim.protocol._trees import float_leaves


def leafwise(f, trees, *scalars):
    """Map `f(*leaves, *scalars)` over `trees`, computing in at least float32.

    The results have the dtype of the first tree's leaves. Leaves and scalars come to
    `f` in one dtype, so `f` needs no thought of promotion.
    """

    def leaf(*leaves):
        arrays = [jnp.asarray(a) for a in leaves]
        dtype = widest(arrays)
        cast = (a.astype(dtype) for a in arrays)
        return f(*cast, *numbers(dtype)).astype(arrays[0].dtype)

    numbers = caster(scalars)
    return jax.tree.map(leaf, *trees)


def widest(arrays):
    """The dtype to compute in: that of all arrays, at least float32."""
    dtypes = {a.dtype for a in arrays}
    return accumulator(dtypes.pop() if len(dtypes) == 1 else promote(*arrays))


def caster(scalars):
    """A function of a dtype that returns the scalars in it, each cast but once."""
    cast: dict = {}

    def at(dtype):
        if dtype not in cast:
            cast[dtype] = [jnp.asarray(s, dtype) for s in scalars]
        return cast[dtype]

    return at


def zeros(tree):
    """Zeros like `tree`, strongly typed so that the first update is like the next."""
    return jax.tree.map(lambda a: jnp.zeros_like(a, dtype=a.dtype), tree)


def wide(name, what, tree):
    """A tree of arrays in at least float32."""
    return jax.tree.map(
        lambda a: a.astype(accumulator(a.dtype)), float_leaves(name, what, tree)
    )


def wide_copy(name, params):
    """A copy of params in at least float32, which a step may donate.

    Raises:
        TypeError: if a leaf is not of a floating-point dtype.
    """
    return jax.tree.map(
        lambda w: jnp.array(w, accumulator(w.dtype), copy=True),
        float_leaves(name, "params", params),
    )
