"""Dense layers with a gate, for the feed-forward blocks of transformers."""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
from jax.nn import initializers

from funcnn import ops
from funcnn.foundation._checks import integer
from funcnn.layers.basic._dense import GLOROT_NORMAL
from funcnn.layers.protocol._layer import Layer, constructor
from funcnn.layers.protocol._params import affine_params, check_params
from funcnn.layers.protocol._shapes import one_input


@constructor
def SwiGLU(
    features: int,
    *,
    use_bias: bool = False,
    weight_init: Callable = GLOROT_NORMAL,
    bias_init: Callable = initializers.zeros,
) -> Layer:
    """`silu(x @ W) * (x @ V)`, `(..., in_features)` to `(..., features)`.

    `Serial(SwiGLU(hidden), Dense(features, use_bias=False))` is Llama's feed-forward block.
    Params: `weight` of shape `(in_features, 2 * features)`, which is `W`, the gate's, and
    after it `V`, the value's, for one product of matrices, and, with `use_bias=True`,
    `bias` of shape `(2 * features,)` in the same order.

    Args:
        features: length of the output's last axis.
        use_bias: whether to add a bias to the gate and the value.
        weight_init: `weight_init(key, shape, dtype)`, as in `jax.nn.initializers`, of each
            of the two, so that `W` and `V` start as the weights of a `Dense` do.
        bias_init: likewise.

    Raises:
        TypeError: if `features` is not an integer.
        ValueError: if it is not positive.
    """
    return gated("SwiGLU", ops.swiglu, features, use_bias, weight_init, bias_init)


@constructor
def GeGLU(
    features: int,
    *,
    approximate: bool = True,
    use_bias: bool = False,
    weight_init: Callable = GLOROT_NORMAL,
    bias_init: Callable = initializers.zeros,
) -> Layer:
    """`gelu(x @ W) * (x @ V)`, `(..., in_features)` to `(..., features)`.

    Params: as those of `SwiGLU`.

    Args:
        features: length of the output's last axis.
        approximate: whether to use gelu's tanh approximation.
        use_bias: whether to add a bias to the gate and the value.
        weight_init: `weight_init(key, shape, dtype)`, as in `jax.nn.initializers`, of each
            of the two, so that `W` and `V` start as the weights of a `Dense` do.
        bias_init: likewise.

    Raises:
        TypeError: if `features` is not an integer.
        ValueError: if it is not positive.
    """
    gate = partial(ops.geglu, approximate=approximate)
    return gated("GeGLU", gate, features, use_bias, weight_init, bias_init)


def gated(layer, gate, features, use_bias, weight_init, bias_init):
    """A dense layer of gates and then values, and `gate` of them."""
    features = integer(layer, "features", features, minimum=1)
    names = ("weight", "bias") if use_bias else ("weight",)

    def init(key, shape):
        x = one_input(layer, shape, "(..., in_features)")
        weight_shape = (x.shape[-1], 2 * features)
        initial_bias = bias_init if use_bias else None
        return affine_params(key, x, weight_shape, weight_init, initial_bias, parts=2)

    def apply(params, x, *, key=None):
        del key  # both are deterministic
        check_params(layer, params, *names)
        both = ops.dense(x, params["weight"], params.get("bias"))
        return gate(*jnp.split(both, 2, -1))

    return Layer(init, apply)
