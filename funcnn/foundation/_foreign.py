"""A batch comes in; with the arrays of other libraries as NumPy's, it goes out."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def in_numpy(tree: Any) -> Any:
    """A pytree, with what NumPy can read and JAX does not take as NumPy's arrays."""
    return jax.tree.map(array, tree)


def array(a: Any) -> Any:
    """An array of another library, such as PyTorch, as NumPy's; all else as it is."""
    known = isinstance(a, jax.Array | np.ndarray | np.generic)
    if known or not hasattr(a, "__array__"):
        return a
    if hasattr(a, "detach"):  # PyTorch's, perhaps with a gradient, or on a device
        a = a.detach().cpu()
        if str(a.dtype) == "torch.bfloat16":  # which NumPy has not
            return np.asarray(a.float()).astype(jnp.bfloat16)
    return np.asarray(a)
