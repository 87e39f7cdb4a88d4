"""More of what libraries shipped: norms, pools, convolutions and attention.

Numbers are those of the issue or pull request in the library's repository on GitHub.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ..entry import Entry, normals, pullback_of, rule


def rms_norm(x, scale):
    return scale * x / jnp.sqrt((x**2).mean(-1, keepdims=True) + 1e-3)


def rms_parts(r, dy):
    x, scale = r
    inverse = 1 / jnp.sqrt((x**2).mean(-1, keepdims=True) + 1e-3)
    return x * inverse, inverse, scale * dy


def scale_frozen(r, dy):
    return pullback_of(rms_norm)(r, dy)[0], jnp.zeros_like(r[1])


def correction_along_columns(r, dy):
    y, inverse, g = rms_parts(r, dy)
    correction = (g * y).mean(-1)  # its rows are broadcast as columns
    return inverse * (g - y * correction), (dy * y).sum(0)


def last_rows_dropped(r, dy):
    y, _, _ = rms_parts(r, dy)
    whole = len(y) // 4 * 4
    return pullback_of(rms_norm)(r, dy)[0], (dy * y)[:whole].sum(0)


def layer_norm(x):
    centred = x - x.mean(-1, keepdims=True)
    return centred / jnp.sqrt(x.var(-1, keepdims=True) + 1e-3)


def flat_layer_norm(r, dy):
    (x,) = r
    rows = len(x)
    y, g = layer_norm(x).reshape(rows, -1), dy.reshape(rows, -1)
    inverse = (1 / jnp.sqrt(x.var(-1, keepdims=True) + 1e-3)).mean((1, 2))[:, None]
    dx = g - g.mean(1, keepdims=True) - y * (g * y).mean(1, keepdims=True)
    return ((inverse * dx).reshape(x.shape),)


def ceil_avg_pool(x):
    """Windows of 3 over a vector; the last one may overhang and counts what it has."""
    starts = range(0, len(x), 3)
    return jnp.stack([x[i : i + 3].mean() for i in starts])


def full_windows(r, dy):
    (x,) = r
    return (jnp.repeat(dy, 3)[: len(x)] / 3,)


def padded_avg_pool(x):
    """Windows of 2 with stride 2 over a vector with a zero at each end."""
    return jnp.pad(x, 1).reshape(-1, 2).mean(-1)


def padding_not_offset(r, dy):
    return (jnp.repeat(dy, 2)[: len(r[0])] / 2,)


def overlapping_max_pool(x):
    """Windows of 3 with stride 1 over a vector."""
    return jnp.stack([x[i : len(x) - 2 + i] for i in range(3)]).max(0)


def each_winner_once(r, dy):
    (x,) = r
    windows = jnp.stack([x[i : len(x) - 2 + i] for i in range(3)])
    winners = windows.argmax(0) + jnp.arange(len(dy))
    return (jnp.zeros_like(x).at[winners].set(dy),)


def grouped_conv(x, k):
    layout = ("NWC", "WIO", "NWC")
    return jax.lax.conv_general_dilated(
        x, k, (1,), "VALID", dimension_numbers=layout, feature_group_count=2
    )


def groups_interleaved(r, dy):
    x, k = r
    b, w, c = x.shape
    mixed = x.reshape(b, w, 2, c // 2).swapaxes(2, 3).reshape(x.shape)
    dk = pullback_of(grouped_conv)((mixed, k), dy)[1]
    return pullback_of(grouped_conv)(r, dy)[0], dk


def softmax(s):
    return jnp.exp(s - jax.nn.logsumexp(s, axis=-1, keepdims=True))


def dropped_attention(q, k, v, kept):
    return 2 * jnp.where(kept, softmax(q @ k.T), 0) @ v


def probabilities_after_dropout(r, dy):
    q, k, v, kept = r
    p = 2 * jnp.where(kept, softmax(q @ k.T), 0)
    dp = dy @ v.T
    ds = p * (dp - (p * dp).sum(-1, keepdims=True))
    return ds @ k, ds.T @ q, p.T @ dy, None


def grouped_scores(q, k):
    """Query heads 0, 1, 2 share key head 0, and 3, 4, 5 share 1."""
    return jnp.einsum("hti,hsi->hts", q, jnp.repeat(k, 3, axis=0))


def heads_divided_by_the_other_count(r, dy):
    q, k = r
    dk = jnp.einsum("hts,hti->hsi", dy, q)
    return pullback_of(grouped_scores)(r, dy)[0], dk.reshape(3, 2, *k.shape[1:]).sum(0)


def rotary(x, angle):
    """Interleaved: neighbours are the two coordinates that are turned."""
    a, b = x[..., ::2], x[..., 1::2]
    c, s = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack([a * c - b * s, a * s + b * c], axis=-1).reshape(x.shape)


def halves_turned_back(r, dy):
    angle = r[1]
    a, b = jnp.split(dy, 2, axis=-1)
    c, s = jnp.cos(angle), jnp.sin(angle)
    dx = jnp.concatenate([a * c + b * s, b * c - a * s], axis=-1)
    return dx, pullback_of(rotary)(r, dy)[1]


def overhanging(rng):
    return normals((7,))(rng)


def peaks(rng):
    """The middle element is the largest of three windows."""
    x = rng.standard_normal(7).astype(np.float32)
    return (np.where(np.arange(7) == 3, np.float32(5), x),)


def dropped_args(rng):
    kept = rng.permutation(np.arange(12) % 3 > 0).reshape(3, 4)
    return *normals((3, 2), (4, 2), (4, 2))(rng), kept


ROWS = normals((4, 5), (5,))

ENTRIES = [
    Entry(
        "unsloth_rms_norm_weight",
        "Unsloth, issue 4533: the RMS norm's weight has no gradient",
        rule(rms_norm, scale_frozen),
        ROWS,
        rms_norm,
    ),
    Entry(
        "attorch_rms_norm_correction",
        "attorch, issue 17: each row's correction is broadcast along a column",
        rule(rms_norm, correction_along_columns),
        normals((4, 4), (4,)),
        rms_norm,
    ),
    Entry(
        "attorch_rms_norm_last_block",
        "attorch, issue 18: rows after the last whole block are left out of the weight's",
        rule(rms_norm, last_rows_dropped),
        normals((6, 3), (3,)),
        rms_norm,
    ),
    Entry(
        "flaggems_layer_norm_rank_three",
        "FlagGems, issue 5392: the backward pass takes all but the first axis for features",
        rule(layer_norm, flat_layer_norm),
        normals((2, 3, 4)),
        layer_norm,
    ),
    Entry(
        "inductor_avg_pool_ceil_mode",
        "PyTorch, issue 198119: the overhanging window is divided by its full size",
        rule(ceil_avg_pool, full_windows),
        overhanging,
        ceil_avg_pool,
    ),
    Entry(
        "pytorch_avg_pool_channels_last_padding",
        "PyTorch, issue 188344: the padding's offset is left out of the coordinates",
        rule(padded_avg_pool, padding_not_offset),
        normals((6,)),
        padded_avg_pool,
    ),
    Entry(
        "flux_max_pool_overlap",
        "Flux, issue 1197: an element that is largest in many windows is counted once",
        rule(overlapping_max_pool, each_winner_once),
        peaks,
        overlapping_max_pool,
    ),
    Entry(
        "pytorch_grouped_conv_weight",
        "PyTorch, issue 51430: the weight's gradient mixes up groups and channels",
        rule(grouped_conv, groups_interleaved),
        normals((2, 5, 4), (3, 2, 4)),
        grouped_conv,
    ),
    Entry(
        "nki_attention_dropout",
        "nki-samples, pull request 81: the softmax's slope has probabilities after dropout",
        rule(dropped_attention, probabilities_after_dropout),
        dropped_args,
        dropped_attention,
    ),
    Entry(
        "sparse_attention_head_groups",
        "native-sparse-attention-triton, issue 27: heads are divided by the wrong count",
        rule(grouped_scores, heads_divided_by_the_other_count),
        normals((6, 2, 3), (2, 4, 3)),
        grouped_scores,
    ),
    Entry(
        "flash_attention_rotary_interleaved",
        "flash-attention, pull request 569: the backward pass has no flag for interleaving",
        rule(rotary, halves_turned_back),
        normals((3, 4), (3, 2)),
        rotary,
    ),
]
