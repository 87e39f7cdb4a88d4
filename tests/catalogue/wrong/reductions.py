"""Sums, means and products of many elements."""

import jax.numpy as jnp
import numpy as np

from ..entry import normals
from .structure import entry


def add_bias(x, bias):
    """The bias is a column."""
    return x + bias[:, None]


def bias_summed_over_columns(r, dy):
    return dy, dy.sum(0)


def cumsum(x):
    return jnp.cumsum(x)


def cumulative_forwards(r, dy):
    return (jnp.cumsum(dy),)


def exclusive_cumsum(x):
    return jnp.cumsum(x) - x


def inclusive_backwards(r, dy):
    return (jnp.cumsum(dy[::-1])[::-1],)


def segment_sums(x, ids):
    return jnp.zeros((3, *x.shape[1:]), x.dtype).at[ids].add(x)


def taken_as_sorted(r, dy):
    return dy[jnp.sort(r[1])], None


def row_mean(x):
    return x.mean(-1)


def divided_by_all(r, dy):
    return (jnp.broadcast_to(dy[:, None], r[0].shape) / r[0].size,)


def spread(x):
    return x.var(-1, ddof=1)


def spread_of_population(r, dy):
    (x,) = r
    centred = x - x.mean(-1, keepdims=True)
    return (2 * dy[:, None] * centred / x.shape[-1],)


def circular_conv(x, k):
    return jnp.stack([jnp.roll(k, i) for i in range(len(x))], axis=1) @ x


def neither_reversed(r, dy):
    x, k = r
    return circular_conv(dy, k), circular_conv(dy, x)


ENTRIES = [
    entry(
        "bias_summed_over_the_other_axis",
        "a column is summed as a row would be: right in shape if square",
        add_bias,
        bias_summed_over_columns,
        normals((4, 4), (4,)),
    ),
    entry(
        "cumsum_not_reversed",
        "the cotangent is summed from the start",
        cumsum,
        cumulative_forwards,
        normals((6,)),
    ),
    entry(
        "exclusive_cumsum_inclusive_backward",
        "each element gets its own position's cotangent too",
        exclusive_cumsum,
        inclusive_backwards,
        normals((6,)),
    ),
    entry(
        "segment_sum_taken_as_sorted",
        "cotangents are handed out as if the segments' ids were sorted",
        segment_sums,
        taken_as_sorted,
        lambda rng: (rng.standard_normal((5, 2), np.float32), np.array([2, 0, 1, 0, 2])),
    ),
    entry(
        "row_mean_divided_by_all",
        "the mean of a row is divided by the number of all elements",
        row_mean,
        divided_by_all,
        normals((3, 4)),
    ),
    entry(
        "sample_variance_of_a_population",
        "the forward pass divides by n - 1, the backward pass by n",
        spread,
        spread_of_population,
        normals((3, 4)),
    ),
    entry(
        "circular_conv_not_reversed",
        "cotangents are convolved where they should be correlated",
        circular_conv,
        neither_reversed,
        normals((5,), (5,)),
        known=False,
    ),
]
