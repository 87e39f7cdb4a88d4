"""Normalisation layers."""

import jax.numpy as jnp

from funcnn import ops
from funcnn.foundation._checks import integer, number
from funcnn.kernels._windows import spatial_rank
from funcnn.layers.protocol._layer import Layer, constructor
from funcnn.layers.protocol._params import check_params
from funcnn.layers.protocol._shapes import one_input, param_dtype


@constructor
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


@constructor
def RMSNorm(eps: float = 1e-6) -> Layer:
    """Root mean square 1 over the last axis, then a scale; no mean is taken off.

    Params: `scale`, ones at first, of shape `(d,)` for inputs of shape `(..., d)`.

    Args:
        eps: added to the mean square, at least 0.

    Raises:
        TypeError: if `eps` is not a number.
        ValueError: if it is negative.
    """
    number("RMSNorm", "eps", eps, low=0.0)

    def init(key, shape):
        del key
        x = one_input("RMSNorm", shape, "(..., d)")
        return {"scale": jnp.ones(x.shape[-1], param_dtype(x))}

    def apply(params, x, *, key=None):
        del key  # RMSNorm is deterministic
        check_params("RMSNorm", params, "scale")
        return ops.rms_norm(x, params["scale"], eps)

    return Layer(init, apply)


@constructor
def GroupNorm(groups: int, eps: float = 1e-6) -> Layer:
    """Mean 0 and variance 1 over each image's groups of channels, then scale and offset.

    Params: `scale`, ones at first, and `offset`, zeros, both of shape `(C,)` for inputs
    of shape `(N, *spatial, C)` with 1, 2 or 3 spatial axes.

    Args:
        groups: the number of blocks of channels; divides C.
        eps: added to the variance, at least 0.

    Raises:
        TypeError: if `groups` is not an integer, or `eps` not a number.
        ValueError: if `groups` is less than 1 or `eps` negative; in `init`, if `groups`
            does not divide C.
    """
    groups = integer("GroupNorm", "groups", groups, minimum=1)
    number("GroupNorm", "eps", eps, low=0.0)

    def init(key, shape):
        del key
        x = one_input("GroupNorm", shape, "(N, *spatial, C)")
        spatial_rank("GroupNorm", x.shape)
        channels, dtype = x.shape[-1], param_dtype(x)
        if channels % groups:
            raise ValueError(
                f"GroupNorm needs groups that divide the {channels} channels of x; got "
                f"{groups}."
            )
        return {"scale": jnp.ones(channels, dtype), "offset": jnp.zeros(channels, dtype)}

    def apply(params, x, *, key=None):
        del key  # GroupNorm is deterministic
        check_params("GroupNorm", params, "scale", "offset")
        return ops.group_norm(x, params["scale"], params["offset"], groups, eps)

    return Layer(init, apply)
