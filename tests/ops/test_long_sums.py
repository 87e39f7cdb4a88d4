"""Sums of thousands of terms about 1.

Bfloat16 stops counting at 256, since 256 + 1 = 256.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from funcnn import ops
from tests.support.hard_points import (
    close,
    positive,
    value_and_pullback,
    wide,
)

N = 4608
ONCE = 2**-8


def test_dense_sums_in_float32():
    x, weight, dy = positive(2, N), positive(N, 3, seed=1), positive(2, 3, seed=2)
    y, _ = value_and_pullback(ops.dense, (x, weight, positive(3)), dy)
    close(y, wide(x) @ wide(weight) + wide(positive(3)), ONCE)

    weight, dy = positive(3, N), positive(2, N, seed=2)
    arrays = positive(2, 3), weight, positive(N)
    close(value_and_pullback(ops.dense, arrays, dy)[1][0], wide(dy) @ wide(weight).T, ONCE)

    x, dy = positive(N, 3), positive(N, 2, seed=1)
    arrays = x, positive(3, 2), positive(2)
    _, (_, dweight, dbias) = value_and_pullback(ops.dense, arrays, dy)
    close(dweight, wide(x).T @ wide(dy), ONCE)
    close(dbias, wide(dy).sum(0), ONCE)


def test_products_sum_in_float32():
    a, b = positive(2, N), positive(N, 3, seed=1)
    expected = wide(a) @ wide(b)
    close(ops.dot(a, b), expected, ONCE)
    close(ops.matmul(a, b), expected, ONCE)
    close(ops.tensordot(a, b, 1), expected, ONCE)

    a, b, dy = positive(N, 2), positive(2, 3), positive(N, 3, seed=1)
    for op in (ops.dot, ops.matmul, lambda a, b: ops.tensordot(a, b, 1)):
        _, (_, db) = value_and_pullback(op, (a, b), dy)
        close(db, wide(a).T @ wide(dy), ONCE)
        _, (da, _) = value_and_pullback(op, (b.T, a.T), dy.T)
        close(da, wide(dy).T @ wide(a), ONCE)


def test_matmul_sums_over_broadcast_axes_in_float32():
    a, b, dy = positive(N, 1, 2), positive(2, 3), positive(N, 1, 3, seed=1)
    _, (_, db) = value_and_pullback(ops.matmul, (a, b), dy)
    close(db, np.einsum("nik,nij->kj", wide(a), wide(dy)), ONCE)


def test_conv_sums_in_float32():
    x, weight = positive(1, 3, 3, N // 9), positive(3, 3, N // 9, 2, seed=1)
    y = ops.conv(x, weight, positive(2), padding="VALID")
    expected = np.einsum("nijc,ijco->no", wide(x), wide(weight)) + wide(positive(2))
    close(y[:, 0, 0], expected, ONCE)

    weight, dy = positive(3, 3, 2, N // 9), positive(1, 5, 5, N // 9, seed=1)
    arrays = positive(1, 5, 5, 2), weight, positive(N // 9)
    _, (dx, _, _) = value_and_pullback(ops.conv, arrays, dy)
    turned = wide(dy)[0, 3:0:-1, 3:0:-1]  # Input (2, 2) is tap (i, j) of (3 - i, 3 - j).
    close(dx[0, 2, 2], np.einsum("ijo,ijco->c", turned, wide(weight)), ONCE)

    x, dy = positive(2, 48, 48, 2), positive(2, 48, 48, 3, seed=1)
    arrays = x, positive(3, 3, 2, 3), positive(3)
    _, (_, dweight, dbias) = value_and_pullback(ops.conv, arrays, dy)
    close(dweight[1, 1], np.einsum("nijc,nijo->co", wide(x), wide(dy)), ONCE)
    close(dbias, wide(dy).sum((0, 1, 2)), ONCE)


def test_conv_transpose_sums_in_float32():
    x, weight = positive(1, 4, 4, N // 4), positive(2, 2, N // 4, 2, seed=1)
    y = ops.conv_transpose(x, weight, positive(2), padding=0)
    patch = wide(x)[0, 1:3, 1:3]
    expected = np.einsum("ijc,ijco->o", patch, wide(weight)) + wide(positive(2))
    close(y[0, 1, 1], expected, ONCE)

    weight, dy = positive(2, 2, 2, N // 4), positive(1, 8, 8, N // 4, seed=1)
    arrays = positive(1, 4, 4, 2), weight, positive(N // 4)
    f = functools.partial(ops.conv_transpose, stride=2)
    _, (dx, _, _) = value_and_pullback(f, arrays, dy)
    patch = wide(dy)[0, 3:1:-1, 3:1:-1]
    close(dx[0, 1, 1], np.einsum("ijo,ijco->c", patch, wide(weight)), ONCE)

    x, dy = positive(2, 48, 48, 2), positive(2, 48, 48, 3, seed=1)
    arrays = x, positive(1, 1, 2, 3), positive(3)
    _, (_, dweight, dbias) = value_and_pullback(ops.conv_transpose, arrays, dy)
    close(dweight[0, 0], np.einsum("nijc,nijo->co", wide(x), wide(dy)), ONCE)
    close(dbias, wide(dy).sum((0, 1, 2)), ONCE)


def heap(n):
    """A large number amid `n` ones: about it, 1 more is nothing to bfloat16."""
    return np.where(np.arange(n) == n // 2, 1024.0, 1.0)


def test_avg_pool_sums_in_float32():
    x = positive(1, 32, 32, 2)
    y = jax.jit(lambda x: ops.avg_pool(x, 32))(x)
    close(y[0, 0, 0], wide(x)[0].mean((0, 1)), ONCE)

    x, dy = jnp.zeros((1, 199, 1), "bfloat16"), jnp.asarray(heap(100), "bfloat16")
    _, (dx,) = value_and_pullback(
        lambda x: ops.avg_pool(x, 100, 1), (x,), dy.reshape(1, 100, 1)
    )
    close(dx[0, 99, 0], heap(100).mean(), ONCE)


def test_overlapping_windows_sum_in_float32():
    """A maximum that a hundred windows see; columns put back where they came from."""
    x = jnp.zeros((1, 199, 1), "bfloat16").at[0, 99].set(1)
    dy = jnp.asarray(heap(100), "bfloat16").reshape(1, 100, 1)
    _, (dx,) = value_and_pullback(lambda x: ops.max_pool(x, 100, 1), (x,), dy)
    close(dx[0, 99, 0], heap(100).sum(), ONCE)

    columns = dy * jnp.ones((1, 1, 100), "bfloat16")
    back = jax.jit(lambda c: ops.col2im(c, (1, 199, 1), 100, padding="VALID"))(columns)
    close(back[0, 99, 0], heap(100).sum(), ONCE)
    _, (dx,) = value_and_pullback(
        lambda x: ops.im2col(x, 100, padding="VALID"), (x,), columns
    )
    close(dx[0, 99, 0], heap(100).sum(), ONCE)


def test_layer_norm_sums_in_float32():
    x, scale, offset = positive(2, N), positive(N, seed=1), positive(N, seed=2)
    dy = positive(2, N, seed=3)
    y, (dx, _, _) = value_and_pullback(ops.layer_norm, (x, scale, offset), dy)
    centred = wide(x) - wide(x).mean(1, keepdims=True)
    std = np.sqrt((centred**2).mean(1, keepdims=True) + 1e-6)
    xhat, g = centred / std, wide(dy) * wide(scale)
    close(y, xhat * wide(scale) + wide(offset), ONCE, 1e-3)
    projected = g - g.mean(1, keepdims=True) - xhat * (xhat * g).mean(1, keepdims=True)
    close(dx, projected / std, ONCE, 1e-4)

    x, dy = 2 * positive(N, 3), positive(N, 3, seed=1)
    x = x.at[:, 2].set(9)  # so that each column of xhat has a mean of its own
    arrays = x, positive(3), positive(3)
    _, (_, dscale, doffset) = value_and_pullback(ops.layer_norm, arrays, dy)
    centred = wide(x) - wide(x).mean(1, keepdims=True)
    xhat = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-6)
    close(dscale, (xhat * wide(dy)).sum(0), ONCE)
    close(doffset, wide(dy).sum(0), ONCE)


def test_rms_norm_sums_in_float32():
    x, scale, dy = positive(2, N), positive(N, seed=1), positive(2, N, seed=2)
    y, (dx, _) = value_and_pullback(ops.rms_norm, (x, scale), dy)
    rms = np.sqrt((wide(x) ** 2).mean(1, keepdims=True) + 1e-6)
    xhat, g = wide(x) / rms, wide(dy) * wide(scale)
    close(y, xhat * wide(scale), ONCE)
    close(dx, (g - xhat * (xhat * g).mean(1, keepdims=True)) / rms, ONCE, 1e-3)

    arrays, dy = (positive(N, 3), positive(3, seed=1)), positive(N, 3, seed=2)
    _, (_, dscale) = value_and_pullback(ops.rms_norm, arrays, dy)
    rms = np.sqrt((wide(arrays[0]) ** 2).mean(1, keepdims=True) + 1e-6)
    close(dscale, (wide(arrays[0]) / rms * wide(dy)).sum(0), ONCE)


def test_group_norm_sums_in_float32():
    x, scale, offset = positive(2, N, 2), positive(2, seed=1), positive(2, seed=2)
    dy = positive(2, N, 2, seed=3)
    f = functools.partial(ops.group_norm, groups=1)
    y, (dx, dscale, doffset) = value_and_pullback(f, (x, scale, offset), dy)
    centred = wide(x) - wide(x).mean((1, 2), keepdims=True)
    std = np.sqrt((centred**2).mean((1, 2), keepdims=True) + 1e-6)
    xhat, g = centred / std, wide(dy) * wide(scale)
    close(y, xhat * wide(scale) + wide(offset), ONCE, 1e-3)
    mean_g, mean_xg = (a.mean((1, 2), keepdims=True) for a in (g, xhat * g))
    close(dx, (g - mean_g - xhat * mean_xg) / std, ONCE, 1e-3)
    close(dscale, (xhat * wide(dy)).sum((0, 1)), ONCE, 1e-2)
    close(doffset, wide(dy).sum((0, 1)), ONCE)


def test_batch_norm_sums_in_float32():
    x, scale, offset = positive(N, 2), positive(2, seed=1), positive(2, seed=2)
    dy = positive(N, 2, seed=3), positive(2, seed=4), positive(2, seed=5)
    found, (dx, dscale, doffset) = value_and_pullback(
        ops.batch_norm, (x, scale, offset), dy
    )
    mean, centred = wide(x).mean(0), wide(x) - wide(x).mean(0)
    variance = (centred**2).mean(0)
    std = np.sqrt(variance + 1e-6)
    xhat, g = centred / std, wide(dy[0]) * wide(scale)
    close(found[0], xhat * wide(scale) + wide(offset), ONCE, 1e-3)
    close(found[1], mean, 1e-5)
    close(found[2], variance, 1e-5)
    expected = (g - g.mean(0) - xhat * (xhat * g).mean(0)) / std
    expected += (wide(dy[1]) + 2 * centred * wide(dy[2])) / N
    close(dx, expected, ONCE, 1e-3)
    close(dscale, (xhat * wide(dy[0])).sum(0), ONCE, 1e-2)
    close(doffset, wide(dy[0]).sum(0), ONCE)


def test_embed_sums_in_float32():
    ids, dy = np.arange(N) % 3, positive(N, 2)
    _, (dtable,) = value_and_pullback(
        lambda table: ops.embed(table, ids), (positive(4, 2),), dy
    )
    expected = [wide(dy)[ids == i].sum(0) for i in range(4)]
    close(dtable, expected, ONCE)


def test_softmaxes_sum_in_float32():
    x, dy = positive(2, N), positive(2, N, seed=1)
    p = np.exp(wide(x)) / np.exp(wide(x)).sum(1, keepdims=True)
    y, (dx,) = value_and_pullback(ops.softmax, (x,), dy)
    close(y, p, ONCE)
    expected = p * (wide(dy) - (p * wide(dy)).sum(1, keepdims=True))
    close(dx, expected, 2 * ONCE, 2 * ONCE * p.max())
    close(ops.log_softmax(x), np.log(p), ONCE)


def test_softmax_cross_entropy_sums_in_float32():
    x, labels = positive(2, N), jnp.array([3, N - 1])
    p = np.exp(wide(x)) / np.exp(wide(x)).sum(1, keepdims=True)
    hot = np.eye(N)[[3, N - 1]]
    y, (dx,) = value_and_pullback(lambda x: ops.softmax_cross_entropy(x, labels), (x,))
    close(y, -np.log(p[[0, 1], labels]), ONCE)
    close(dx, p - hot, ONCE)

    q = positive(2, N, seed=1)  # sums to thousands, not to 1
    y, (dx, dq) = value_and_pullback(ops.softmax_cross_entropy, (x, q))
    close(y, -(wide(q) * np.log(p)).sum(1), ONCE)
    close(dx, wide(q).sum(1, keepdims=True) * p - wide(q), ONCE, 2 * ONCE)
    close(dq, -np.log(p), ONCE)


def test_linear_softmax_cross_entropy_sums_in_float32():
    x, weight = positive(2, N), positive(N, 3, seed=1)
    weight, labels = weight / N, jnp.array([0, 2])
    s = wide(x) @ wide(weight)
    p = np.exp(s) / np.exp(s).sum(1, keepdims=True)
    g = p - np.eye(3)[[0, 2]]

    def op(*arrays):
        return ops.linear_softmax_cross_entropy(*arrays[:2], labels, *arrays[2:])

    y, (dx, dweight) = value_and_pullback(op, (x, weight))
    close(y, -np.log(p[[0, 1], labels]), 1e-5)
    close(dx, g @ wide(weight).T, ONCE, 4 * ONCE * wide(weight).max())
    close(dweight, wide(x).T @ g, 2 * ONCE, 4 * ONCE)

    x, weight, bias, dy = positive(N, 2), positive(2, 3), positive(3), positive(N, seed=1)
    labels = jnp.arange(N) % 3
    s = wide(x) @ wide(weight) + wide(bias)
    p = np.exp(s) / np.exp(s).sum(1, keepdims=True)
    g = wide(dy)[:, None] * (p - np.eye(3)[labels])
    _, (_, dweight, dbias) = value_and_pullback(op, (x, weight, bias), dy)
    size = np.abs(g).sum(0).max()
    close(dbias, g.sum(0), ONCE, 1e-5 * size)
    close(dweight, wide(x).T @ g, ONCE, 1e-4 * size)


def test_cross_entropy_sums_in_float32():
    p, q = positive(2, N), positive(2, N, seed=1)
    expected = -(wide(q) * np.log(wide(p) / 4)).sum(1)
    close(ops.cross_entropy(p / 4, q), expected, ONCE)
