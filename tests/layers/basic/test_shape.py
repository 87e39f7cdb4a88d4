"""Layers that rearrange, and functions as layers."""

import numpy as np

from funcnn.layers import Flatten, GlobalAvgPool, Lambda
from tests.support.layers import fails


def test_flatten_of_vectors():
    assert Flatten().apply({}, np.ones(3)).shape == (3, 1)
    assert Flatten().apply({}, np.ones((3, 0, 2))).shape == (3, 0)


def test_lambda_of_no_function():
    fails(TypeError, "Lambda needs a function; got 3.", Lambda, 3)


def test_flatten_and_pool_of_a_wrong_rank():
    fails(
        ValueError, "Flatten needs x of shape (N, ...); got ().", Flatten().apply, {}, 1.0
    )
    fails(TypeError, "Flatten needs x to be an array; got list.", Flatten().apply, {}, [1])
    pool = GlobalAvgPool().apply
    fails(TypeError, "GlobalAvgPool needs x of a floating-point dtype", pool, {}, 1)
    for shape in ((), (2,), (2, 3), (1,) * 6):
        message = "needs x of shape (N, *spatial, C) with 1, 2 or 3 spatial axes"
        fails(ValueError, message, pool, {}, np.ones(shape))
