"""What a JAX user would write, for autodiff to differentiate: an op's rival.

A function has the name, the arguments and the values of the op in `funcnn.ops`.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import elu as elu
from jax.nn import gelu as gelu
from jax.nn import leaky_relu as leaky_relu
from jax.nn import log_softmax as log_softmax
from jax.nn import relu as relu
from jax.nn import sigmoid as sigmoid
from jax.nn import silu as silu
from jax.nn import softmax as softmax
from jax.nn import softplus as softplus
from jax.numpy import dot as dot
from jax.numpy import matmul as matmul
from jax.numpy import tanh as tanh
from jax.numpy import tensordot as tensordot

from benchmarks.ops.plain_windows import avg_pool as avg_pool
from benchmarks.ops.plain_windows import col2im as col2im
from benchmarks.ops.plain_windows import conv as conv
from benchmarks.ops.plain_windows import conv_transpose as conv_transpose
from benchmarks.ops.plain_windows import im2col as im2col
from benchmarks.ops.plain_windows import max_pool as max_pool


def layer_norm(x, scale, offset, eps=1e-6):
    """`(..., d)`, `(d,)`, `(d,)` to `(..., d)`."""
    mean = x.mean(-1, keepdims=True)
    variance = x.var(-1, keepdims=True)
    return (x - mean) * lax.rsqrt(variance + eps) * scale + offset


def batch_norm(x, scale, offset, eps=1e-6):
    """`(..., C)`, `(C,)`, `(C,)` to `(..., C)` and the statistics, `(C,)` and `(C,)`."""
    axes = tuple(range(x.ndim - 1))
    mean, variance = x.mean(axes), x.var(axes)
    return (x - mean) * lax.rsqrt(variance + eps) * scale + offset, mean, variance


def group_norm(x, scale, offset, groups, eps=1e-6):
    """`(N, *spatial, C)`, `(C,)`, `(C,)` to `(N, *spatial, C)`."""
    blocks = x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)
    axes = (*range(1, x.ndim - 1), x.ndim)
    mean = blocks.mean(axes, keepdims=True)
    variance = blocks.var(axes, keepdims=True)
    normal = (blocks - mean) * lax.rsqrt(variance + eps)
    return normal.reshape(x.shape) * scale + offset


def rms_norm(x, scale, eps=1e-6):
    """`(..., d)`, `(d,)` to `(..., d)`."""
    return x * lax.rsqrt((x * x).mean(-1, keepdims=True) + eps) * scale


def softmax_cross_entropy(logits, labels):
    """`(..., C)`, integers `(...)` to `(...)`."""
    log_p = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(log_p, labels[..., None], -1)[..., 0]


def linear_softmax_cross_entropy(x, weight, labels):
    """`(..., d)`, `(d, V)`, integers `(...)` to `(...)`."""
    return softmax_cross_entropy(x @ weight, labels)


def cross_entropy(probs, labels, eps=1e-10):
    """`(..., C)`, integers `(...)` to `(...)`."""
    return -jnp.log(jnp.take_along_axis(probs, labels[..., None], -1)[..., 0] + eps)


def swiglu(gate, value):
    """Any shape, twice, to the same."""
    return silu(gate) * value


def geglu(gate, value, approximate=True):
    """Any shape, twice, to the same."""
    return gelu(gate, approximate) * value


def embed(table, ids):
    """`(V, d)`, integers `(...)` to `(..., d)`."""
    return table[ids]


def rope(x):
    """`(B, T, H, D)` to the same, at positions 0 to T - 1."""
    half = x.shape[-1] // 2
    frequencies = 10000.0 ** (-jnp.arange(half, dtype=x.dtype) / half)
    angles = jnp.arange(x.shape[1], dtype=x.dtype)[:, None, None] * frequencies
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    a, b = jnp.split(x, 2, -1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def attention(q, k, v, causal=False, window=None):
    """`(B, T, H, D)`, `(B, S, K, D)`, `(B, S, K, E)` to `(B, T, H, E)`.

    A window is so many positions before and after.
    """
    batch, length, heads, width = q.shape
    q = q.reshape(batch, length, k.shape[2], heads // k.shape[2], width)
    scores = jnp.einsum("btkgd,bskd->bkgts", q, k) / math.sqrt(width)
    ahead = jnp.arange(k.shape[1]) - jnp.arange(length)[:, None]
    if causal:
        scores = jnp.where(ahead <= 0, scores, -jnp.inf)
    if window is not None:
        scores = jnp.where(abs(ahead) <= window, scores, -jnp.inf)
    y = jnp.einsum("bkgts,bske->btkge", softmax(scores), v)
    return y.reshape(batch, length, heads, -1)


def dense(x, weight, bias):
    """`(..., m)`, `(m, n)`, `(n,)` to `(..., n)`."""
    return x @ weight + bias


def mse(prediction, target):
    """Any shape, twice, to the same."""
    return (prediction - target) ** 2
