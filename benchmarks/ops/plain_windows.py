"""What a JAX user would write for ops that slide a window; the others are in `plain`."""

import math

import jax
import jax.numpy as jnp
from jax import lax


def conv(x, weight, bias, stride=1, padding="SAME", dilation=1, groups=1):
    """`(N, *spatial, C)`, `(*kernel, C // groups, O)`, `(O,)` to `(N, *out, O)`."""
    rank = x.ndim - 2
    y = lax.conv_general_dilated(
        x,
        weight,
        each(stride, rank),
        pads(padding, rank),
        rhs_dilation=each(dilation, rank),
        dimension_numbers=layout(rank),
        feature_group_count=groups,
    )
    return y + bias


def conv_transpose(x, weight, bias, stride=1, padding="SAME", dilation=1):
    """`(N, *spatial, C)`, `(*kernel, C, O)`, `(O,)` to `(N, *out, O)`."""
    rank = x.ndim - 2
    y = lax.conv_transpose(
        x,
        weight,
        each(stride, rank),
        pads(padding, rank),
        rhs_dilation=each(dilation, rank),
        dimension_numbers=layout(rank),
    )
    return y + bias


def max_pool(x, window, stride=None, padding="VALID"):
    """`(N, *spatial, C)` to `(N, *out, C)`."""
    return pooled(x, -jnp.inf, lax.max, window, stride, padding)


def avg_pool(x, window, stride=None, padding="VALID"):
    """`(N, *spatial, C)` to `(N, *out, C)`; padding counts."""
    size = math.prod(each(window, x.ndim - 2))
    return pooled(x, 0.0, lax.add, window, stride, padding) / size


def im2col(x, kernel_size, stride=1, padding="SAME", dilation=1):
    """`(N, *spatial, C)` to `(N, *out, prod(kernel) * C)`."""
    rank, channels = x.ndim - 2, x.shape[-1]
    patches = lax.conv_general_dilated_patches(
        x,
        each(kernel_size, rank),
        each(stride, rank),
        pads(padding, rank),
        rhs_dilation=each(dilation, rank),
        dimension_numbers=layout(rank),
    )
    apart = patches.reshape(*patches.shape[:-1], channels, -1)
    return apart.swapaxes(-1, -2).reshape(patches.shape)


def col2im(cols, shape, kernel_size, stride=1, padding="SAME", dilation=1):
    """`(N, *out, prod(kernel) * C)` to `shape`, which is `(N, *spatial, C)`."""

    def gather(x):
        return im2col(x, kernel_size, stride, padding, dilation)

    image = jax.ShapeDtypeStruct(shape, cols.dtype)
    return jax.linear_transpose(gather, image)(cols)[0]


def pooled(x, start, combine, window, stride, padding):
    """Combine the elements of each window."""
    rank = x.ndim - 2
    dims = (1, *each(window, rank), 1)
    strides = dims if stride is None else (1, *each(stride, rank), 1)
    padding = pads(padding, rank)
    if not isinstance(padding, str):
        padding = ((0, 0), *padding, (0, 0))
    return lax.reduce_window(x, start, combine, dims, strides, padding)


def each(value, rank):
    """A number for each spatial axis."""
    return value if isinstance(value, tuple) else (value,) * rank


def pads(padding, rank):
    """A name, or a pair for each spatial axis."""
    return ((padding, padding),) * rank if isinstance(padding, int) else padding


def layout(rank):
    """Channels last, in `lax`'s letters."""
    axes = "DHW"[3 - rank :]
    return f"N{axes}C", f"{axes}IO", f"N{axes}C"
