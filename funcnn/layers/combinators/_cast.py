"""A layer in another precision."""

from typing import Any

import jax
import jax.numpy as jnp

from funcnn.foundation._checks import float_dtype
from funcnn.foundation._dtypes import accumulator, floats_as
from funcnn.layers.protocol._layer import Layer, wrapper
from funcnn.layers.protocol._shapes import describe


@wrapper
def Cast(layer: Layer, dtype: Any) -> Layer:
    """The same layer, computed in `dtype`.

    Params stay as they are, of the input's dtype but at least float32; in each call they
    and the input are cast to `dtype`, and so is the output if it is not of `dtype` yet. So
    gradients come back in the params' dtype, float32, which is what an optimizer wants to
    add small updates to.

        body = layers.Serial(layers.Dense(64), layers.Gelu(), layers.Dense(64))
        model = layers.Serial(
            layers.Cast(body, "bfloat16"), layers.Cast(layers.Dense(10), "float32")
        )

    What comes after it is given `dtype`, and a layer that is not in a `Cast` itself would
    draw params of it: the one above is, for that and for logits of float32. To compute a
    whole model in another dtype, give that to `train.make_step`.

    Params, keys and any options of `apply` are the layer's own; options are not cast, nor
    is anything but floating-point arrays.

    Args:
        layer: any.
        dtype: a floating-point dtype.

    Raises:
        TypeError: if `layer` is not a layer, or `dtype` not floating-point.
    """
    if not isinstance(layer, Layer):
        raise TypeError(f"Cast needs a layer; got {layer!r}.")
    dtype = float_dtype("Cast", "a dtype", dtype)

    def init(key, shape):
        return layer.init(key, jax.tree.map(at_least_float32, describe("Cast", shape)))

    def apply(params, x, *, key=None, **options):
        params, x = floats_as((params, x), dtype)
        return floats_as(layer.apply(params, x, key=key, **options), dtype)

    return Layer(init, apply)


def at_least_float32(x):
    """The shape of an input, in the dtype that params are to have."""
    floating = jnp.issubdtype(x.dtype, jnp.floating)
    return x.update(dtype=accumulator(x.dtype)) if floating else x
