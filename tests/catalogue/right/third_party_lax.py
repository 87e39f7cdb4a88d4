"""jax.lax, jax.numpy and jax.image as they are."""

from functools import partial

import jax
import jax.numpy as jnp

from tests.catalogue.entry import Entry
from tests.catalogue.right import labels, normal, uniform

lax = jax.lax


def strided_conv(x, kernel):
    numbers = ("NWC", "WIO", "NWC")
    return lax.conv_general_dilated(
        x, kernel, (2,), "SAME", rhs_dilation=(2,), dimension_numbers=numbers
    )


def largest_of_windows(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3), (1, 2), "SAME")


def products(x):
    return lax.associative_scan(jnp.multiply, x)


def scatter(x, ids, updates):
    return jnp.asarray(x).at[ids].add(updates).at[0].multiply(2)


def segments(x, ids):
    return jax.ops.segment_sum(x, ids, 4), jax.ops.segment_max(x, ids, 4)


def window_of(x, start):
    return lax.dynamic_slice_in_dim(x, start, 2)


def resize(image):
    return jax.image.resize(image, (5, 7), "bicubic")


ENTRIES = [
    Entry(
        "lax_conv",
        "Strides, dilation, padding.",
        strided_conv,
        lambda rng: (normal(rng, 2, 9, 3), normal(rng, 3, 3, 4)),
    ),
    Entry(
        "lax_reduce_window",
        "Overlapping windows, -inf as padding.",
        largest_of_windows,
        lambda rng: (normal(rng, 2, 9),),
    ),
    Entry(
        "lax_associative_scan",
        "Running products.",
        products,
        lambda rng: (uniform(rng, 0.5, 2, 9),),
        jnp.cumprod,
    ),
    Entry(
        "lax_cumlogsumexp",
        "Running sums of exponentials.",
        partial(lax.cumlogsumexp, axis=0),
        lambda rng: (normal(rng, 9),),
    ),
    Entry(
        "lax_top_k",
        "Values and integers.",
        partial(lax.top_k, k=3),
        lambda rng: (normal(rng, 2, 6),),
    ),
    Entry(
        "numpy_cumsum",
        "In bfloat16, as it is.",
        partial(jnp.cumsum, axis=1),
        lambda rng: (normal(rng, 2, 9, dtype="bfloat16"),),
    ),
    Entry(
        "numpy_scatter",
        "Integer indices that repeat.",
        scatter,
        lambda rng: (normal(rng, 5, 2), labels(rng, 5, 7), normal(rng, 7, 2)),
    ),
    Entry(
        "segments",
        "Sums and maxima by integers; an empty segment's maximum is -inf.",
        segments,
        lambda rng: (normal(rng, 8), labels(rng, 3, 8)),
    ),
    Entry(
        "lax_dynamic_slice",
        "A start that is an integer array.",
        window_of,
        lambda rng: (normal(rng, 6, 3), labels(rng, 4)),
    ),
    Entry("numpy_median", "A sort.", jnp.median, lambda rng: (normal(rng, 9),)),
    Entry("image_resize", "Bicubic.", resize, lambda rng: (normal(rng, 3, 4),)),
]
