"""Convolutions that treat channels one by one, and mix them, if at all, afterwards."""

from collections.abc import Callable

from jax.nn import initializers

from funcnn import ops
from funcnn.foundation._checks import integer
from funcnn.kernels._windows import spatial_rank, windows
from funcnn.layers.combinators._serial import Serial
from funcnn.layers.convolution._conv import HE_NORMAL, Conv
from funcnn.layers.protocol._layer import Layer, constructor
from funcnn.layers.protocol._params import affine_params, check_params
from funcnn.layers.protocol._shapes import one_input


@constructor
def DepthwiseConv(
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...] = 1,
    padding="SAME",
    dilation: int | tuple[int, ...] = 1,
    multiplier: int = 1,
    *,
    use_bias: bool = True,
    weight_init: Callable = HE_NORMAL,
    bias_init: Callable = initializers.zeros,
) -> Layer:
    """A kernel for each channel, `(N, *spatial, C)` to `(N, *out, C * multiplier)`.

    Output channel `c * multiplier + i` sees input channel `c` alone. Params: `weight` of
    shape `(*kernel, 1, C * multiplier)` and, unless `use_bias=False`, `bias` of shape
    `(C * multiplier,)`.

    Args:
        kernel_size: a tuple, one per spatial axis, or an int that holds for each of
            them, however many the input has.
        stride: an int, or one per spatial axis.
        padding: "SAME", "VALID", an int, or one (low, high) pair per spatial axis.
        dilation: the kernel's, an int or one per spatial axis.
        multiplier: how many outputs each channel has.
        use_bias: whether to add a bias.
        weight_init: `weight_init(key, shape, dtype)`, as in `jax.nn.initializers`. Each
            channel is drawn by itself, in one `jax.vmap`, with a shape of
            `(*kernel, 1, multiplier)`.
        bias_init: likewise.

    Raises:
        TypeError: if a number is not an integer.
        ValueError: if a number is not positive; in `init`, if the windows do not fit the
            input.
    """
    multiplier = integer("DepthwiseConv", "multiplier", multiplier, minimum=1)
    for n in kernel_size if isinstance(kernel_size, tuple | list) else (kernel_size,):
        integer("DepthwiseConv", "kernel_size", n, minimum=1)
    names = ("weight", "bias") if use_bias else ("weight",)

    def init(key, shape):
        x = one_input("DepthwiseConv", shape, "(N, *spatial, C)")
        spatial_rank("DepthwiseConv", x.shape)
        *size, channels = x.shape[1:]
        w = windows("DepthwiseConv", tuple(size), kernel_size, stride, padding, dilation)
        weight_shape = (*w.kernel, 1, channels * multiplier)
        initial_bias = bias_init if use_bias else None
        return affine_params(key, x, weight_shape, weight_init, initial_bias, channels)

    def apply(params, x, *, key=None):
        del key  # DepthwiseConv is deterministic
        check_params("DepthwiseConv", params, *names)
        weight, bias = params["weight"], params.get("bias")
        return ops.conv(x, weight, bias, stride, padding, dilation, x.shape[-1])

    return Layer(init, apply)


@constructor
def SeparableConv(
    features: int,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...] = 1,
    padding="SAME",
    dilation: int | tuple[int, ...] = 1,
    multiplier: int = 1,
    *,
    use_bias: bool = True,
    weight_init: Callable = HE_NORMAL,
    bias_init: Callable = initializers.zeros,
) -> Layer:
    """A depthwise convolution, then one of kernel size 1 that mixes the channels.

    As in Xception (Chollet, 2017, arXiv:1610.02357), with nothing in between: fewer
    multiplications than a `Conv` of the same shape by about the size of the kernel. Params:
    `depthwise`, those of `DepthwiseConv` without a bias, and `pointwise`, those of `Conv`.

    Args:
        features: number of output channels.
        kernel_size: the depthwise kernel's, as are the stride, padding and dilation.
        stride: an int, or one per spatial axis.
        padding: "SAME", "VALID", an int, or one (low, high) pair per spatial axis.
        dilation: an int or one per spatial axis.
        multiplier: how many channels the depthwise convolution makes of each.
        use_bias: whether the second convolution adds a bias.
        weight_init: of both, as in `Conv`.
        bias_init: as in `Conv`.

    Raises:
        TypeError, ValueError: as `DepthwiseConv` and `Conv`.
    """
    depthwise = DepthwiseConv(
        kernel_size,
        stride,
        padding,
        dilation,
        multiplier,
        use_bias=False,
        weight_init=weight_init,
    )
    pointwise = Conv(
        features, 1, use_bias=use_bias, weight_init=weight_init, bias_init=bias_init
    )
    return Serial(depthwise=depthwise, pointwise=pointwise)
