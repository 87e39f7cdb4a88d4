"""Comes in: the `shape` that `init` was given. Goes out: its shapes and dtypes, checked."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

SHAPE = "a tuple of ints, or an array or jax.ShapeDtypeStruct"


def describe(layer: str, shape: Any) -> Any:
    """Return the pytree of `jax.ShapeDtypeStruct` that the `shape` given to `init` means.

    A tuple of ints stands for an array of float32.

    Raises:
        TypeError: if a leaf is no shape.
        ValueError: if a shape is negative.
    """

    def leaf(s):
        if is_shape(s):
            if min(s, default=0) < 0:
                raise ValueError(f"{layer} needs a shape of at least 0; got {shape}.")
            return jax.ShapeDtypeStruct(tuple(map(int, s)), jnp.float32)
        if not has_shape(s):
            raise TypeError(f"{layer} needs a shape, {SHAPE}; got {shape!r}.")
        if isinstance(s, jax.core.Tracer) and s.weak_type and not s.shape:
            raise TypeError(
                f"{layer} needs a shape that is static: jax.jit and jax.eval_shape trace "
                "a tuple of ints, so close over it or pass a jax.ShapeDtypeStruct."
            )
        return jax.ShapeDtypeStruct(s.shape, s.dtype)

    return jax.tree.map(leaf, shape, is_leaf=lambda s: is_shape(s) or has_shape(s))


def one_input(layer: str, shape: Any, needed: str) -> jax.ShapeDtypeStruct:
    """Describe the input of a layer that takes one array, shaped as `needed` says.

    Raises:
        TypeError: if `shape` is no shape, or one of several inputs.
        ValueError: if the array has no axes, or none but an empty last one.
    """
    x = describe(layer, shape)
    if not isinstance(x, jax.ShapeDtypeStruct):
        raise TypeError(f"{layer} needs the shape of one array, {SHAPE}; got {shape!r}.")
    if not x.shape or not x.shape[-1]:
        raise ValueError(
            f"{layer} needs x of shape {needed} with a last axis that is not empty; "
            f"got {x.shape}."
        )
    return x


def param_dtype(x: jax.ShapeDtypeStruct):
    """The input's dtype if it is floating-point, else float32."""
    return x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else jnp.float32


def is_shape(s):
    """Whether `s` is a tuple of ints."""
    return isinstance(s, tuple) and all(
        isinstance(n, int | np.integer) and not isinstance(n, bool) for n in s
    )


def has_shape(s):
    """Whether `s` describes an array."""
    return hasattr(s, "shape") and hasattr(s, "dtype")
