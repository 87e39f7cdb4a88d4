"""Normalisation layers."""

import jax.numpy as jnp

from funcnn import ops
from funcnn._checks import number
from funcnn.layers._common import check_params, one_input, param_dtype
from funcnn.layers._layer import Layer


def LayerNorm(eps: float = 1e-6) -> Layer:
    """Mean 0 and variance 1 over the last axis, then a scale and an offset.

    Params: `scale`, ones at first, and `offset`, zeros, both of shape `(d,)` for inputs
    of shape `(..., d)`.

    Args:
        eps: added to the variance, at least 0.

    Raises:
        TypeError: if `eps` is not a number.
        ValueError: if it is negative.
    """
    number("LayerNorm", "eps", eps, low=0.0)

    def init(key, shape):
        del key
        x = one_input("LayerNorm", shape, "(..., d)")
        d, dtype = x.shape[-1], param_dtype(x)
        return {"scale": jnp.ones(d, dtype), "offset": jnp.zeros(d, dtype)}

    def apply(params, x, *, key=None):
        del key  # LayerNorm is deterministic
        check_params("LayerNorm", params, "scale", "offset")
        return ops.layer_norm(x, params["scale"], params["offset"], eps)

    return Layer(init, apply)
