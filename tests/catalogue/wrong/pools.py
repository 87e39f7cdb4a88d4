"""Pooling, upsampling and other changes of resolution."""

import jax
import jax.numpy as jnp
import numpy as np

from ..entry import Entry, normals, pullback_of, rule


def pairs(x):
    """(batch, width, channels) in windows of 2, without overlap."""
    return x.reshape(x.shape[0], -1, 2, x.shape[2])


def avg_pool(x):
    return pairs(x).mean(2)


def repeated(r, dy):
    return (jnp.repeat(dy, 2, axis=1),)


def window_counts(length, dtype):
    return jnp.convolve(jnp.ones(length, dtype), jnp.ones(3, dtype), "same")


def padded_avg(x):
    """Windows of 3 over a vector; the padding is not counted."""
    sums = jnp.convolve(x, jnp.ones(3, x.dtype), "same")
    return sums / window_counts(len(x), x.dtype)


def padding_counted(r, dy):
    return (jnp.convolve(dy, jnp.ones(3, dy.dtype), "same") / 3,)


def max_pool(x):
    return pairs(x).max(2)


def first_max_pool(x):
    """Of equal elements the first is the largest."""
    at = pairs(x).argmax(2, keepdims=True)
    return jnp.take_along_axis(pairs(x), at, axis=2)[:, :, 0]


def every_tie(r, dy):
    (x,) = r
    hit = pairs(x) == max_pool(x)[:, :, None]
    return (jnp.where(hit, dy[:, :, None], 0).reshape(x.shape),)


def start_of_window(r, dy):
    (x,) = r
    return (jnp.zeros_like(x).at[:, ::2].set(dy),)


def global_max(x):
    return x.max(1)


def largest_of_any_channel(r, dy):
    (x,) = r
    return (jnp.where(x == x.max((1, 2), keepdims=True), dy[:, None], 0),)


def power_mean(p, x):
    return (x**p).mean(-1) ** (1 / p)


def outer_power_forgotten(p, r, dy):
    (x,) = r
    return (dy[..., None] * x ** (p - 1) / x.shape[-1],)


def nearest(x):
    return jnp.repeat(x, 2, axis=1)


def one_of_two(r, dy):
    return (dy[:, ::2],)


def interpolate(x, at):
    """Values between the elements of a vector at positions in [0, len - 1)."""
    low = jnp.floor(at).astype(int)
    w = at - low.astype(at.dtype)
    return x[low] * (1 - w) + x[low + 1] * w


def weights_swapped(r, dy):
    x, at = r
    low = jnp.floor(at).astype(int)
    w = at - low.astype(at.dtype)
    dx = jnp.zeros_like(x).at[low].add(dy * w).at[low + 1].add(dy * (1 - w))
    return dx, dy * (x[low + 1] - x[low])


def position_constant(r, dy):
    return pullback_of(interpolate)(r, dy)[0], jnp.zeros_like(r[1])


BINS = np.array([0, 0, 0, 1, 1, 2, 2])


def adaptive_avg(x):
    counts = jnp.asarray(np.bincount(BINS), x.dtype)
    return jnp.zeros((3, *x.shape[1:]), x.dtype).at[BINS].add(x) / counts[:, None]


def equal_bins(r, dy):
    return (dy[BINS] / (len(BINS) / 3),)


def soft_pool(x, temperature):
    p = jnp.exp(x / temperature - jax.nn.logsumexp(x / temperature, -1, keepdims=True))
    return (p * x).sum(-1)


def weights_constant(r, dy):
    x, t = r
    p = jnp.exp(x / t - jax.nn.logsumexp(x / t, -1, keepdims=True))
    return dy[:, None] * p, pullback_of(soft_pool)(r, dy)[1]


def blur_pool(x):
    """A fixed filter, then every other element."""
    return jnp.convolve(x, jnp.asarray([0.5, 0.3, 0.2], x.dtype), "same")[::2]


def filter_forwards(r, dy):
    spread = jnp.zeros_like(r[0]).at[::2].set(dy)
    return (jnp.convolve(spread, jnp.asarray([0.5, 0.3, 0.2], dy.dtype), "same"),)


def ties(rng):
    x = rng.standard_normal((2, 4, 2)).astype(np.float32)
    return (x.repeat(2, axis=1),)


SIGNAL = normals((2, 6, 3))

ENTRIES = [
    Entry(
        "avg_pool_not_divided",
        "the cotangent is repeated over the window, not shared out",
        rule(avg_pool, repeated),
        SIGNAL,
        avg_pool,
    ),
    Entry(
        "avg_pool_padding_counted_backward",
        "at the edges the backward pass counts the padding",
        rule(padded_avg, padding_counted),
        normals((7,)),
        padded_avg,
    ),
    Entry(
        "max_pool_every_tie",
        "of equal elements each gets the whole cotangent: together more than the slope",
        rule(first_max_pool, every_tie),
        ties,
        first_max_pool,
    ),
    Entry(
        "max_pool_start_of_window",
        "the cotangent goes to the window's first element",
        rule(max_pool, start_of_window),
        SIGNAL,
        max_pool,
    ),
    Entry(
        "global_max_of_any_channel",
        "only the largest element of all channels gets its cotangent",
        rule(global_max, largest_of_any_channel),
        SIGNAL,
        global_max,
    ),
    Entry(
        "power_mean_outer_power_forgotten",
        "the outer root is not differentiated",
        rule(power_mean, outer_power_forgotten, nondiff_argnums=(0,)),
        lambda rng: (3.0, rng.uniform(0.5, 2, (3, 4)).astype(np.float32)),
        power_mean,
    ),
    Entry(
        "nearest_upsampling_one_of_two",
        "of an element's two copies only the first has a cotangent",
        rule(nearest, one_of_two),
        SIGNAL,
        nearest,
    ),
    Entry(
        "interpolation_weights_swapped",
        "the neighbours' weights are swapped in the backward pass",
        rule(interpolate, weights_swapped),
        lambda rng: (*normals((6,))(rng), rng.uniform(0, 5, 8).astype(np.float32)),
        interpolate,
    ),
    Entry(
        "interpolation_position_constant",
        "the positions' cotangent is 0",
        rule(interpolate, position_constant),
        lambda rng: (*normals((6,))(rng), rng.uniform(0, 5, 8).astype(np.float32)),
        interpolate,
    ),
    Entry(
        "adaptive_avg_pool_equal_bins",
        "bins of 3, 2 and 2 are taken to be equal",
        rule(adaptive_avg, equal_bins),
        normals((7, 2)),
        adaptive_avg,
    ),
    Entry(
        "soft_pool_weights_constant",
        "the softmax weights are taken to be constants",
        rule(soft_pool, weights_constant),
        lambda rng: (*normals((3, 4))(rng), np.float32(rng.uniform(0.5, 2))),
        soft_pool,
    ),
    Entry(
        "blur_pool_filter_forwards",
        "an asymmetric filter is not reversed in the backward pass",
        rule(blur_pool, filter_forwards),
        normals((8,)),
        blur_pool,
    ),
]
