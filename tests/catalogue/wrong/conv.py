"""Convolutions: inputs are (batch, width, channels), kernels (width, in, out)."""

import jax
import jax.numpy as jnp

from ..entry import Entry, normals, pullback_of, rule


def conv(x, k, stride=1, padding="VALID", **options):
    layout = ("NWC", "WIO", "NWC")
    return jax.lax.conv_general_dilated(
        x, k, (stride,), padding, dimension_numbers=layout, **options
    )


def valid(x, k):
    return conv(x, k)


def input_part(r, dy, other):
    """The input's cotangent belongs to another function, the kernel's is right."""
    return pullback_of(other)(r, dy)[0], pullback_of(valid)(r, dy)[1]


def not_flipped(x, k):
    return valid(x, k[::-1])


def channels_not_swapped(x, k):
    return valid(x, k.mT)


def same(x, k):
    return conv(x, k, padding=[(1, 2)])


def same_other_side(x, k):
    return conv(x, k, padding=[(2, 1)])


def strided(x, k):
    return conv(x, k, stride=2)


def leftover_on_the_left(r, dy):
    x, k = r
    dx, dk = pullback_of(strided)(r, dy)
    left = x.shape[1] - (2 * (dy.shape[1] - 1) + len(k))
    return jnp.roll(dx, left, axis=1), dk


def strided_kernel_from_dense_steps(r, dy):
    x, k = r
    steps = dy.shape[1]
    patches = jnp.stack([x[:, i : i + steps] for i in range(len(k))])
    return pullback_of(strided)(r, dy)[0], jnp.einsum("wbti,bto->wio", patches, dy)


def dilated(x, k):
    return conv(x, k, rhs_dilation=(2,))


def kernel_not_dilated(r, dy):
    x, k = r
    steps = dy.shape[1]
    patches = jnp.stack([x[:, i : i + steps] for i in range(len(k))])
    return pullback_of(dilated)(r, dy)[0], jnp.einsum("wbti,bto->wio", patches, dy)


def causal(x, k):
    return conv(x, k, padding=[(len(k) - 1, 0)])


def causal_input_shifted(x, k):
    return conv(x, k, padding=[(len(k), -1)])


def depthwise(x, k):
    return conv(x, k, feature_group_count=x.shape[-1])


def depthwise_kernel_shared(r, dy):
    dx, dk = pullback_of(depthwise)(r, dy)
    return dx, jnp.broadcast_to(dk.mean(-1, keepdims=True), dk.shape)


def conv2d(x, k, b):
    layout = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=layout)
    return y + b


def bias_averaged_over_space(r, dy):
    dx, dk, _ = pullback_of(conv2d)(r, dy)
    return dx, dk, dy.mean((1, 2)).sum(0)


def kernel_axes_swapped(x, k, b):
    return conv2d(x, k.transpose(1, 0, 2, 3), b)


def patches(x):
    """Windows of 3 with stride 2: neighbours share an element."""
    return x[:, _windows(x)]


def _windows(x):
    return 2 * jnp.arange((x.shape[1] - 1) // 2)[:, None] + jnp.arange(3)


def overlaps_overwritten(r, dy):
    (x,) = r
    return (jnp.zeros_like(x).at[:, _windows(x)].set(dy),)


SIGNAL = normals((2, 7, 3), (3, 3, 3))
EVEN = normals((2, 6, 3), (4, 3, 2))
IMAGE = normals((2, 4, 5, 2), (3, 3, 2, 3), (3,))

ENTRIES = [
    Entry(
        "conv_kernel_not_flipped",
        "the input's cotangent is correlated with the kernel where it should be convolved",
        rule(valid, lambda r, dy: input_part(r, dy, not_flipped)),
        SIGNAL,
        valid,
    ),
    Entry(
        "conv_channels_not_swapped",
        "the input's cotangent uses the kernel's in and out channels in forward order",
        rule(valid, lambda r, dy: input_part(r, dy, channels_not_swapped)),
        SIGNAL,
        valid,
    ),
    Entry(
        "conv_same_padding_on_the_other_side",
        "an even kernel's odd padding is put on the other side in the backward pass",
        rule(same, pullback_of(same_other_side)),
        EVEN,
        same,
    ),
    Entry(
        "conv_leftover_column_on_the_left",
        "the input column that no stride reaches is taken to be the first, not the last",
        rule(strided, leftover_on_the_left),
        normals((2, 8, 3), (3, 3, 2)),
        strided,
    ),
    Entry(
        "conv_kernel_forgets_the_stride",
        "the kernel's cotangent takes neighbouring inputs where the stride is 2",
        rule(strided, strided_kernel_from_dense_steps),
        normals((2, 7, 3), (3, 3, 2)),
        strided,
    ),
    Entry(
        "conv_kernel_forgets_the_dilation",
        "the kernel's cotangent takes neighbouring inputs where the taps are two apart",
        rule(dilated, kernel_not_dilated),
        normals((2, 8, 3), (3, 3, 2)),
        dilated,
    ),
    Entry(
        "causal_conv_off_by_one",
        "the backward pass pads the sequence by one element too many",
        rule(causal, pullback_of(causal_input_shifted)),
        SIGNAL,
        causal,
    ),
    Entry(
        "depthwise_kernel_shared_by_channels",
        "the kernel's cotangent is averaged over the channels",
        rule(depthwise, depthwise_kernel_shared),
        normals((2, 7, 3), (3, 1, 3)),
        depthwise,
    ),
    Entry(
        "conv_bias_averaged_over_space",
        "the bias's cotangent is averaged over the image, not summed",
        rule(conv2d, bias_averaged_over_space),
        IMAGE,
        conv2d,
    ),
    Entry(
        "conv_height_and_width_swapped",
        "the backward pass takes the kernel's height for its width",
        rule(conv2d, pullback_of(kernel_axes_swapped)),
        IMAGE,
        conv2d,
    ),
    Entry(
        "patches_overlaps_overwritten",
        "an element in two windows gets the cotangent of the last one only",
        rule(patches, overlaps_overwritten),
        normals((2, 7)),
        patches,
    ),
]
