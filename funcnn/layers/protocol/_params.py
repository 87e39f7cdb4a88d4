"""Comes in: the params of a layer. Goes out: an error if they are another's; and the draw
of those that most layers have, a weight and a bias.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from funcnn.foundation._dtypes import accumulator
from funcnn.layers.protocol._shapes import param_dtype


def drawn(init: Callable, key, shape, dtype, parts: int = 1):
    """What an initializer gives, drawn in at least float32 and rounded to `dtype`.

    A draw in 16 bits is one of a few hundred numbers, and its mean is not that asked for.

    Args:
        init: `init(key, shape, dtype)`, as in `jax.nn.initializers`.
        key: for randomness.
        shape: of the whole.
        dtype: likewise.
        parts: how many arrays of equal shape the last axis is made of, which see to their
            fans each by itself, as if they were apart.
    """
    wide = accumulator(dtype)
    if parts == 1:
        whole = init(key, shape, wide)
    else:
        part = (*shape[:-1], shape[-1] // parts)
        keys = jax.random.split(key, parts)
        whole = jax.vmap(lambda k: init(k, part, wide), out_axes=-2)(keys)
        whole = whole.reshape(shape)
    return whole if wide == dtype else jnp.asarray(whole).astype(dtype)


def affine_params(
    key, x, shape, weight_init: Callable, bias_init: Callable | None, parts: int = 1
) -> dict:
    """Draw `weight` of `shape` and, unless `bias_init` is None, `bias` of its last axis.

    The weight is of so many `parts`; see `drawn`.
    """
    dtype = param_dtype(x)
    weight_key, bias_key = jax.random.split(key)
    params = {"weight": drawn(weight_init, weight_key, shape, dtype, parts)}
    if bias_init is not None:
        params["bias"] = drawn(bias_init, bias_key, shape[-1:], dtype)
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
