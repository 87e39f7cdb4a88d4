"""Convolution as the compiler has it."""

import jax
import jax.numpy as jnp

from funcnn.foundation._dtypes import accumulator, promote
from funcnn.kernels._windows import Windows
from funcnn.kernels.convolution._geometry import turned

# Autodiff's filter gradient is a convolution that takes the images for its channels. On
# XLA:CPU it has run at half its speed, or less, with more images than these.
BLOCK = 32
MOST = 8  # blocks: each is compiled


def convolve(x, weight, w: Windows, groups):
    """JAX's convolution."""
    return windowed_sum(x, weight, w.stride, w.padding, w.dilation, groups)


def convolve_groups(x, weight, w: Windows, groups):
    """A convolution a group: XLA:CPU runs several groups as one by a slow general loop."""
    pairs = zip(jnp.split(x, groups, -1), jnp.split(weight, groups, -1), strict=True)
    return jnp.concatenate([convolve(a, b, w, 1) for a, b in pairs], -1)


def input_gradient(dy, weight, w: Windows, groups):
    """A sum over taps of the dilated `dy: (N, *out, O)` with the kernel turned around."""
    padding = []
    for n, k, m, s, d, (low, _) in zip(
        w.size, w.kernel, w.out, w.stride, w.dilation, w.padding, strict=True
    ):
        padding.append((d * (k - 1) - low, n + low - ((m - 1) * s + 1)))
    ones = (1,) * len(w.size)
    return windowed_sum(
        dy, turned(weight, groups), ones, padding, w.dilation, groups, between=w.stride
    )


def filter_gradient(x, dy, w: Windows, groups):
    """A convolution of `x` with `dy` for a kernel, images and channels exchanged.

    The output positions are its taps, so stride and dilation change places; groups of
    channels become groups of images of the exchanged convolution.
    """
    common = promote(x, dy)
    axes = "DHW"[5 - x.ndim :]
    padding = [
        (low, d * (k - 1) + (m - 1) * s + 1 - n - low)
        for n, k, m, s, d, (low, _) in zip(
            w.size, w.kernel, w.out, w.stride, w.dilation, w.padding, strict=True
        )
    ]
    return jax.lax.conv_general_dilated(
        x.astype(common),
        dy.astype(common),
        w.dilation,
        padding,
        rhs_dilation=w.stride,
        dimension_numbers=(f"C{axes}N", f"I{axes}O", f"{axes}NC"),
        batch_group_count=groups,
        preferred_element_type=accumulator(common),
    )


def filter_gradient_blocks(x, dy, w: Windows, groups):
    """The same, summed over blocks of images, which are contracted as channels are."""
    size = max(BLOCK, -(-len(x) // MOST))
    total = filter_gradient(x[:size], dy[:size], w, groups)
    for i in range(size, len(x), size):
        total += filter_gradient(x[i : i + size], dy[i : i + size], w, groups)
    return total


def windowed_sum(x, weight, stride, padding, dilation, groups, between=None):
    """JAX's convolution; `between` puts zeros between the elements of `x`."""
    axes = "DHW"[5 - x.ndim :]
    common = promote(x, weight)
    return jax.lax.conv_general_dilated(
        x.astype(common),
        weight.astype(common),
        stride,
        padding,
        lhs_dilation=between,
        rhs_dilation=dilation,
        dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
        feature_group_count=groups,
        preferred_element_type=accumulator(common),
    )
