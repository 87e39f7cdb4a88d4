"""Convolutions: where they start, and what they refuse."""

import math

import jax
import numpy as np
import pytest

from funcnn.layers import Conv, ConvTranspose, DepthwiseConv, SeparableConv
from tests.support.layer_samples import IMAGE
from tests.support.layers import KEY, assert_equal, fails


@pytest.mark.parametrize(
    "kernel_size, groups",
    [pytest.param((3, 3), 1, marks=pytest.mark.exhaustive), ((1, 5), 1), ((3, 3), 4)],
)
def test_conv_starts_he_normal(kernel_size, groups):
    params = Conv(256, kernel_size, groups=groups).init(KEY, (1, 8, 8, 64))
    params = jax.tree.map(np.asarray, params)
    fan_in = math.prod(kernel_size) * 64 // groups
    n = fan_in * 256
    std = (2 / fan_in) ** 0.5
    assert abs(params["weight"].mean()) < 5 * std / n**0.5
    assert params["weight"].var() == pytest.approx(std**2, rel=5 * (2 / n) ** 0.5)
    assert_equal(params["bias"], np.zeros(256))


@pytest.mark.parametrize(
    "args, kind, message",
    [
        ((4, 0), ValueError, "Conv needs kernel_size of at least 1; got 0."),
        ((4, (3, -1)), ValueError, "Conv needs kernel_size of at least 1; got -1."),
        ((4, 3.0), TypeError, "Conv needs an integer kernel_size; got 3.0."),
        ((4, "3"), TypeError, "Conv needs an integer kernel_size; got '3'."),
        ((4, 3, 1, "SAME", 1, 0), ValueError, "Conv needs groups of at least 1; got 0."),
        ((4, 3, 1, "SAME", 1, 1.0), TypeError, "Conv needs an integer groups; got 1.0."),
        (
            (4, 3, 1, "SAME", 1, 3),
            ValueError,
            "Conv needs groups that divide its 4 features; got 3.",
        ),
    ],
)
def test_wrong_conv(args, kind, message):
    fails(kind, message, Conv, *args)


@pytest.mark.parametrize("make", [DepthwiseConv, lambda *a: SeparableConv(4, *a)])
def test_wrong_depthwise_conv(make):
    name = "DepthwiseConv"
    fails(ValueError, f"{name} needs kernel_size of at least 1; got 0.", make, 0)
    message = f"{name} needs multiplier of at least 1; got 0."
    fails(ValueError, message, make, 3, 1, "SAME", 1, 0)
    message = f"{name} needs every spatial axis, padded, at least as long"
    fails(ValueError, message, make(9, 1, "VALID").init, KEY, IMAGE)


def test_wrong_conv_transpose():
    name = "ConvTranspose"
    fails(ValueError, f"{name} needs features of at least 1; got 0.", ConvTranspose, 0, 3)
    message = f"{name} needs an integer kernel_size; got 1.5."
    fails(TypeError, message, ConvTranspose, 2, (3, 1.5))
    message = f"{name} needs every spatial axis, spread out and padded, at least as long"
    init = ConvTranspose(2, 9, padding=0).init
    fails(ValueError, message, init, KEY, IMAGE)
