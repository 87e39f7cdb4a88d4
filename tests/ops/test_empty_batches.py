"""An empty batch gives nothing, and gradients of zero."""

import jax
import jax.numpy as jnp
import pytest

from funcnn import ops
from tests.support.hard_points import (
    normal,
    value_and_pullback,
    zeros,
)

ACTIVATIONS = ["relu", "leaky_relu", "elu", "sigmoid", "tanh", "silu", "gelu", "softplus"]


def at_label_zero(loss):
    return lambda x: loss(x, jnp.zeros(x.shape[:-1], int))


EMPTY = {
    "dense": (ops.dense, (zeros(0, 3), normal(3, 2), normal(2)), (0, 2)),
    "dot": (ops.dot, (zeros(0, 3), normal(3, 2)), (0, 2)),
    "matmul": (ops.matmul, (zeros(0, 4, 3), normal(3, 2)), (0, 4, 2)),
    "tensordot": (
        lambda a, b: ops.tensordot(a, b, 1),
        (zeros(0, 4, 3), normal(3, 2)),
        (0, 4, 2),
    ),
    "conv": (ops.conv, (zeros(0, 4, 5, 2), normal(3, 3, 2, 3), normal(3)), (0, 4, 5, 3)),
    "conv_transpose": (
        lambda *arrays: ops.conv_transpose(*arrays, 2),
        (zeros(0, 4, 5, 2), normal(3, 3, 2, 3), normal(3)),
        (0, 8, 10, 3),
    ),
    "im2col": (lambda x: ops.im2col(x, 3), (zeros(0, 4, 5, 2),), (0, 4, 5, 18)),
    "col2im": (
        lambda cols: ops.col2im(cols, (0, 4, 5, 2), 3),
        (zeros(0, 4, 5, 18),),
        (0, 4, 5, 2),
    ),
    "max_pool": (lambda x: ops.max_pool(x, 2), (zeros(0, 4, 6, 2),), (0, 2, 3, 2)),
    "avg_pool": (lambda x: ops.avg_pool(x, 2), (zeros(0, 4, 6, 2),), (0, 2, 3, 2)),
    "layer_norm": (ops.layer_norm, (zeros(0, 3), normal(3), normal(3)), (0, 3)),
    "rms_norm": (ops.rms_norm, (zeros(0, 3), normal(3)), (0, 3)),
    "group_norm": (
        lambda *arrays: ops.group_norm(*arrays, 2),
        (zeros(0, 3, 4), normal(4), normal(4)),
        (0, 3, 4),
    ),
    "batch_norm": (
        lambda *arrays: ops.batch_norm(*arrays)[0],
        (zeros(0, 3, 4), normal(4), normal(4)),
        (0, 3, 4),
    ),
    "softmax": (ops.softmax, (zeros(0, 3),), (0, 3)),
    "log_softmax": (ops.log_softmax, (zeros(0, 3),), (0, 3)),
    "softmax_cross_entropy": (
        at_label_zero(ops.softmax_cross_entropy),
        (zeros(0, 3),),
        (0,),
    ),
    "linear_softmax_cross_entropy": (
        lambda x, weight, bias: ops.linear_softmax_cross_entropy(
            x, weight, jnp.zeros(0, int), bias
        ),
        (zeros(0, 3), normal(3, 2), normal(2)),
        (0,),
    ),
    "cross_entropy": (at_label_zero(ops.cross_entropy), (zeros(0, 3),), (0,)),
    "mse": (ops.mse, (zeros(0, 3), zeros(0, 3)), (0, 3)),
    "swiglu": (ops.swiglu, (zeros(0, 3), zeros(0, 3)), (0, 3)),
    "geglu": (ops.geglu, (zeros(0, 3), zeros(0, 3)), (0, 3)),
    "embed": (
        lambda table: ops.embed(table, jnp.zeros((0, 2), int)),
        (normal(4, 3),),
        (0, 2, 3),
    ),
    "rope": (ops.rope, (zeros(0, 3, 2, 4),), (0, 3, 2, 4)),
    "attention": (ops.attention, (zeros(0, 3, 2, 4),) * 3, (0, 3, 2, 4)),
    "dropout": (
        lambda x: ops.dropout(jax.random.key(0), x, 0.5),
        (zeros(0, 3),),
        (0, 3),
    ),
    **{name: (getattr(ops, name), (zeros(0, 3),), (0, 3)) for name in ACTIVATIONS},
}


@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_batch_gives_nothing_and_zero_gradients(name):
    op, arrays, shape = EMPTY[name]
    y, gradients = value_and_pullback(op, arrays)
    assert y.shape == shape
    for a, g in zip(arrays, gradients, strict=True):
        assert (g.shape, g.dtype) == (a.shape, a.dtype)
        assert not g.any()
