"""What layers share: their inputs' description, and a check of their params."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnn.layers.protocol._calls import called
from funcnn.layers.protocol._layer import Layer

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


def affine_params(key, x, shape, weight_init: Callable, bias_init: Callable | None) -> dict:
    """Draw `weight` of `shape` and, unless `bias_init` is None, `bias` of its last axis."""
    dtype = param_dtype(x)
    weight_key, bias_key = jax.random.split(key)
    params = {"weight": weight_init(weight_key, shape, dtype)}
    if bias_init is not None:
        params["bias"] = bias_init(bias_key, shape[-1:], dtype)
    return params


def check_params(layer: str, params: Any, *names: str) -> None:
    """Check that `params` is a dict with these names.

    Raises:
        TypeError: if it is not a dict.
        ValueError: if its names are others: those of another layer, most likely.
    """
    if not isinstance(params, Mapping):
        raise TypeError(f"{layer} needs params in {listed(names)}; got {shown(params)}.")
    if set(params) != set(names):
        raise ValueError(f"{layer} needs params in {listed(names)}; got {listed(params)}.")


def parameterless(layer: str, f: Callable) -> Layer:
    """A layer that is a function of its input, with `{}` for params."""

    def init(key, shape):
        del key
        describe(layer, shape)
        return {}

    def apply(params, x, *, key=None):
        del key
        check_params(layer, params)
        return f(x)

    return Layer(init, called(apply, layer))


def is_shape(s):
    """Whether `s` is a tuple of ints."""
    return isinstance(s, tuple) and all(
        isinstance(n, int | np.integer) and not isinstance(n, bool) for n in s
    )


def has_shape(s):
    """Whether `s` describes an array."""
    return hasattr(s, "shape") and hasattr(s, "dtype")


def listed(names):
    """A dict with these names, in words."""
    return f"a dict with {', '.join(map(str, names))}" if names else "an empty dict"


def shown(value):
    """What stands where params should, without its numbers."""
    if isinstance(value, Mapping):
        return listed(value)
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return type(value).__name__
