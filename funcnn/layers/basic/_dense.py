"""The fully connected layer."""

from collections.abc import Callable

from jax.nn import initializers

from funcnn import ops
from funcnn.foundation._checks import integer
from funcnn.layers.protocol._layer import Layer, constructor
from funcnn.layers.protocol._params import affine_params, check_params
from funcnn.layers.protocol._shapes import one_input

GLOROT_NORMAL = initializers.glorot_normal()


@constructor
def Dense(
    features: int,
    *,
    use_bias: bool = True,
    weight_init: Callable = GLOROT_NORMAL,
    bias_init: Callable = initializers.zeros,
) -> Layer:
    """Affine map of the last axis, `(..., in_features)` to `(..., features)`.

    Params: `weight` of shape `(in_features, features)` and, unless `use_bias=False`,
    `bias` of shape `(features,)`.

    Args:
        features: length of the output's last axis.
        use_bias: whether to add a bias.
        weight_init: `weight_init(key, shape, dtype)`, as in `jax.nn.initializers`.
        bias_init: likewise.

    Raises:
        TypeError: if `features` is not an integer.
        ValueError: if it is not positive.
    """
    features = integer("Dense", "features", features, minimum=1)
    names = ("weight", "bias") if use_bias else ("weight",)

    def init(key, shape):
        x = one_input("Dense", shape, "(..., in_features)")
        weight_shape = (x.shape[-1], features)
        initial_bias = bias_init if use_bias else None
        return affine_params(key, x, weight_shape, weight_init, initial_bias)

    def apply(params, x, *, key=None):
        del key  # Dense is deterministic
        check_params("Dense", params, *names)
        return ops.dense(x, params["weight"], params.get("bias"))

    return Layer(init, apply)
