"""Shapes and gradients of arrays with more elements than 32 bits count; none is made."""

import functools

import jax
import pytest

from funcnn import layers, losses, ops

N = 2**31  # one more than int32 holds


def f(*shape):
    return jax.ShapeDtypeStruct(shape, "float32")


def i(*shape):
    return jax.ShapeDtypeStruct(shape, "int32")


called = functools.partial


def applied(layer):
    return lambda x: layer.apply({}, x)


HEAD = losses.linear_softmax_cross_entropy
CALLS = {
    "mse": (losses.mse, f(N), f(N)),
    "softmax cross entropy": (losses.softmax_cross_entropy, f(N, 4), i(N)),
    "of so many classes": (losses.softmax_cross_entropy, f(2, N), i(2)),
    "smoothed": (called(losses.softmax_cross_entropy, label_smoothing=0.1), f(2, N), i(2)),
    "ignored": (called(losses.softmax_cross_entropy, ignore=-1), f(N, 4), i(N)),
    "cross entropy": (losses.cross_entropy, f(N, 4), i(N)),
    "binary": (losses.binary_cross_entropy, f(N), f(N)),
    "linear": (HEAD, f(N, 4), f(4, 8), i(N)),
    "linear, classes": (called(HEAD, label_smoothing=0.1), f(2, 4), f(4, N), i(2)),
    "accuracy": (losses.accuracy, f(N, 4), i(N)),
    "accuracy, classes": (losses.accuracy, f(2, N), i(2)),
    "layer norm": (ops.layer_norm, f(2, N), f(N), f(N)),
    "layer norm, rows": (ops.layer_norm, f(N, 2), f(2), f(2)),
    "rms norm": (ops.rms_norm, f(2, N), f(N)),
    "group norm": (called(ops.group_norm, groups=2), f(2, N, 4), f(4), f(4)),
    "group norm, one group": (called(ops.group_norm, groups=1), f(2, 3, N), f(N), f(N)),
    "group norm, channels": (called(ops.group_norm, groups=2), f(2, 3, N), f(N), f(N)),
    "batch norm": (lambda *a: ops.batch_norm(*a)[0], f(N, 4), f(4), f(4)),
    "average pool": (called(ops.avg_pool, window=2), f(1, N, 2)),
    "average of all": (called(ops.avg_pool, window=N), f(1, N, 2)),
    "average pool of an image": (applied(layers.GlobalAvgPool()), f(1, 2**16, 2**16, 2)),
    "max pool": (called(ops.max_pool, window=2), f(1, N, 2)),
    "softmax": (ops.softmax, f(N)),
    "log softmax": (ops.log_softmax, f(N)),
    "dense": (ops.dense, f(2, N), f(N, 3), f(3)),
    "dense, rows": (ops.dense, f(N, 2), f(2, 3), f(3)),
    "conv": (ops.conv, f(1, N, 2), f(3, 2, 3), f(3)),
    "conv, images": (ops.conv, f(N, 4, 2), f(3, 2, 3), f(3)),
    "depthwise": (called(ops.conv, groups=2), f(1, N, 2), f(3, 1, 2)),
    "transposed": (ops.conv_transpose, f(1, N, 2), f(3, 2, 3), f(3)),
    "im2col": (called(ops.im2col, kernel_size=3), f(1, N, 2)),
    "embed": (ops.embed, f(N // 2, 4), i(3)),
    "embed, ids": (ops.embed, f(5, 2), i(N)),
    "dropout": (called(ops.dropout, jax.random.key(0), rate=0.1), f(N)),
    "attention": (ops.attention, f(1, N, 1, 2), f(1, 5, 1, 2), f(1, 5, 1, 2)),
    "rope": (ops.rope, f(1, N, 1, 2)),
    "swiglu": (ops.swiglu, f(N), f(N)),
    "matmul": (ops.matmul, f(2, N), f(N, 2)),
}


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("name", CALLS)
def test_counts_need_not_fit_into_32_bits(name, x64):
    function, *arrays = CALLS[name]
    floating = [k for k, a in enumerate(arrays) if a.dtype == "float32"]

    def loss(*arrays):
        y = function(*arrays)
        return y if y.shape == () else (y * y).sum()

    with jax.enable_x64(x64), jax.numpy_dtype_promotion("standard"):
        if name.startswith("accuracy"):
            assert jax.eval_shape(loss, *arrays).shape == ()
        else:
            found = jax.eval_shape(jax.grad(loss, floating), *arrays)
            assert [a.shape for a in found] == [arrays[k].shape for k in floating]
