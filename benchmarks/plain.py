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
