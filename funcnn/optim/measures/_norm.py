r"""A pytree in, its Euclidean norm out, all leaves taken as one vector.

$$\lVert g \rVert = \sqrt{\textstyle\sum_{\rm leaves} \sum g^2}$$

**Hard point.** The norm's derivative at 0 is taken to be 0.
"""

import chex
import jax
import jax.numpy as jnp

from funcnn.foundation._dtypes import accumulator, promote
from funcnn.optim.protocol._trees import float_leaves


def global_norm(tree: chex.ArrayTree) -> jax.Array:
    """The Euclidean norm of all leaves taken as one vector.

    Args:
        tree: any pytree of floating-point arrays; an empty one has norm 0.

    Returns:
        Shape `()`, summed in at least float32, which is its dtype.

    Raises:
        TypeError: if a leaf is not floating-point.
    """
    leaves = jax.tree.leaves(float_leaves("global_norm", "leaves", tree))
    sums = [jnp.sum(a.astype(accumulator(a.dtype)) ** 2) for a in leaves]
    sums = sums or [jnp.zeros((), jnp.float32)]
    # One sum of an array: XLA would copy a chain of sums into what is done to each leaf.
    dtype = promote(*sums)
    total = jnp.sum(jnp.stack([a.astype(dtype) for a in sums]))
    zero = total == 0  # where the square root has no derivative
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, total)))
