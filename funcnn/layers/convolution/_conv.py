"""The convolutional layer."""

from collections.abc import Callable

from jax.nn import initializers

from funcnn import ops
from funcnn.foundation._checks import integer
from funcnn.kernels._windows import spatial_rank, windows
from funcnn.layers.protocol._layer import Layer, constructor
from funcnn.layers.protocol._params import affine_params, check_params
from funcnn.layers.protocol._shapes import one_input

HE_NORMAL = initializers.he_normal()  # axes as in (*kernel, in, out)


@constructor
def Conv(
    features: int,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...] = 1,
    padding="SAME",
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
    *,
    use_bias: bool = True,
    weight_init: Callable = HE_NORMAL,
    bias_init: Callable = initializers.zeros,
) -> Layer:
    """Convolution, `(N, *spatial, C)` to `(N, *out, features)`, 1 to 3 spatial axes.

    Params: `weight` of shape `(*kernel, C // groups, features)` and, unless
    `use_bias=False`, `bias` of shape `(features,)`.

    Args:
        features: number of output channels.
        kernel_size: a tuple, one per spatial axis, or an int that holds for each of
            them, however many the input has.
        stride: an int, or one per spatial axis.
        padding: "SAME", "VALID", an int, or one (low, high) pair per spatial axis.
        dilation: the kernel's, an int or one per spatial axis.
        groups: number of blocks of channels; divides C and `features`.
        use_bias: whether to add a bias.
        weight_init: `weight_init(key, shape, dtype)`, as in `jax.nn.initializers`. Each
            group is drawn by itself, in one `jax.vmap`, with a shape of
            `(*kernel, C // groups, features // groups)`, so that its fans are what one
            output sees and how many see one input.
        bias_init: likewise.

    Raises:
        TypeError: if a number is not an integer.
        ValueError: if a number is not positive or `groups` does not divide `features`;
            in `init`, if the windows do not fit the input.
    """
    features = integer("Conv", "features", features, minimum=1)
    groups = integer("Conv", "groups", groups, minimum=1)
    for n in kernel_size if isinstance(kernel_size, tuple | list) else (kernel_size,):
        integer("Conv", "kernel_size", n, minimum=1)
    if features % groups:
        raise ValueError(
            f"Conv needs groups that divide its {features} features; got {groups}."
        )
    names = ("weight", "bias") if use_bias else ("weight",)

    def init(key, shape):
        x = one_input("Conv", shape, "(N, *spatial, C)")
        spatial_rank("Conv", x.shape)
        *size, channels = x.shape[1:]
        if channels % groups:
            raise ValueError(
                f"Conv needs groups that divide the {channels} channels of x; got {groups}."
            )
        w = windows("Conv", tuple(size), kernel_size, stride, padding, dilation)
        weight_shape = (*w.kernel, channels // groups, features)
        initial_bias = bias_init if use_bias else None
        return affine_params(key, x, weight_shape, weight_init, initial_bias, groups)

    def apply(params, x, *, key=None):
        del key  # Conv is deterministic
        check_params("Conv", params, *names)
        weight, bias = params["weight"], params.get("bias")
        return ops.conv(x, weight, bias, stride, padding, dilation, groups)

    return Layer(init, apply)
