"""The transposed convolutional layer."""

from collections.abc import Callable

from jax.nn import initializers

from funcnn import ops
from funcnn.foundation._checks import integer
from funcnn.kernels._windows import spatial_rank, transposed_windows
from funcnn.layers.convolution._conv import HE_NORMAL
from funcnn.layers.protocol._layer import Layer, constructor
from funcnn.layers.protocol._params import affine_params, check_params
from funcnn.layers.protocol._shapes import one_input


@constructor
def ConvTranspose(
    features: int,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...] = 1,
    padding="SAME",
    dilation: int | tuple[int, ...] = 1,
    *,
    use_bias: bool = True,
    weight_init: Callable = HE_NORMAL,
    bias_init: Callable = initializers.zeros,
) -> Layer:
    """Transposed convolution, `(N, *spatial, C)` to `(N, *out, features)`, 1 to 3 axes.

    With "SAME" padding each spatial axis gets `stride` times as long. Params: `weight` of
    shape `(*kernel, C, features)` and, unless `use_bias=False`, `bias` of shape
    `(features,)`.

    Args:
        features: number of output channels.
        kernel_size: a tuple, one per spatial axis, or an int that holds for each of
            them, however many the input has.
        stride: an int, or one per spatial axis.
        padding: "SAME", "VALID", an int, or one (low, high) pair per spatial axis, put
            around the image after `stride - 1` zeros were put between its elements.
        dilation: the kernel's, an int or one per spatial axis.
        use_bias: whether to add a bias.
        weight_init: `weight_init(key, shape, dtype)`, as in `jax.nn.initializers`. The
            default's fan-in is `prod(kernel) * C`, of which an output sees about a share of
            `1 / prod(stride)`.
        bias_init: likewise.

    Raises:
        TypeError: if a number is not an integer.
        ValueError: if a number is not positive; in `init`, if nothing would be left of the
            input.
    """
    features = integer("ConvTranspose", "features", features, minimum=1)
    for n in kernel_size if isinstance(kernel_size, tuple | list) else (kernel_size,):
        integer("ConvTranspose", "kernel_size", n, minimum=1)
    names = ("weight", "bias") if use_bias else ("weight",)

    def init(key, shape):
        x = one_input("ConvTranspose", shape, "(N, *spatial, C)")
        spatial_rank("ConvTranspose", x.shape)
        *size, channels = x.shape[1:]
        w = transposed_windows(
            "ConvTranspose", tuple(size), kernel_size, stride, padding, dilation
        )
        weight_shape = (*w.kernel, channels, features)
        initial_bias = bias_init if use_bias else None
        return affine_params(key, x, weight_shape, weight_init, initial_bias)

    def apply(params, x, *, key=None):
        del key  # ConvTranspose is deterministic
        check_params("ConvTranspose", params, *names)
        weight, bias = params["weight"], params.get("bias")
        return ops.conv_transpose(x, weight, bias, stride, padding, dilation)

    return Layer(init, apply)
