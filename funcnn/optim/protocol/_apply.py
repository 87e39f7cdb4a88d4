"""Params and updates in, new params out."""

import chex
import jax
import jax.numpy as jnp

from funcnn.foundation._dtypes import promote
from funcnn.optim.protocol._trees import match


def apply_updates(params: chex.ArrayTree, updates: chex.ArrayTree) -> chex.ArrayTree:
    """Return `params + updates`, each sum in the dtype of its param.

    Args:
        params: a pytree of arrays.
        updates: a pytree of the same structure and shapes, from ours or from optax's
            `update`.

    Raises:
        ValueError: if structures or shapes differ.
    """
    match("apply_updates", "updates", updates, params)

    def leaf(w, u):
        w, u = jnp.asarray(w), jnp.asarray(u)
        dtype = promote(w, u)
        return (w.astype(dtype) + u.astype(dtype)).astype(w.dtype)

    return jax.tree.map(leaf, params, updates)
