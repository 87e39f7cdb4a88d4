"""Pads, convolutions, sums in windows by NumPy: arrays and parameters in, an array out."""

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def pad(x, value, p):
    """JAX's `pad`: in between too, and less than nothing."""
    config = p["padding_config"]
    sizes = [
        n + inner * max(n - 1, 0) for n, (_, _, inner) in zip(x.shape, config, strict=True)
    ]
    room = [
        (max(low, 0), n, max(high, 0))
        for n, (low, high, _) in zip(sizes, config, strict=True)
    ]
    y = np.full([sum(part) for part in room], value, x.dtype)
    into = zip(room, config, strict=True)
    y[tuple(slice(low, low + n, 1 + inner) for (low, n, _), (_, _, inner) in into)] = x
    crop = zip(y.shape, config, strict=True)
    return y[tuple(slice(max(-low, 0), n + min(high, 0)) for n, (low, high, _) in crop)]


def convolve(x, w, p):
    """JAX's `conv_general_dilated`, or None where no window fits."""
    lhs, rhs, out = p["dimension_numbers"]
    x, w = x.transpose(lhs), w.transpose(rhs)
    edges = zip(p["padding"], p["lhs_dilation"], strict=True)
    x = pad(x, 0, {"padding_config": [(0, 0, 0)] * 2 + [(*e, d - 1) for e, d in edges]})
    gaps = [(0, 0, d - 1) for d in p["rhs_dilation"]]
    w = pad(w, 0, {"padding_config": [(0, 0, 0)] * 2 + gaps})
    if any(n < k for n, k in zip(x.shape[2:], w.shape[2:], strict=True)) or not w.size:
        return None
    windows = sliding_window_view(x, w.shape[2:], tuple(range(2, x.ndim)))
    windows = windows[(..., *(slice(None, None, s) for s in p["window_strides"]))
                      + (slice(None),) * (w.ndim - 2)]  # fmt: skip
    n, batches = x.shape[0], p["batch_group_count"]
    groups = p["feature_group_count"] * batches
    places, spatial = windows.shape[2 : w.ndim], w.ndim - 2
    # groups are of features or of examples, never of both
    shape = (n // batches, groups, -1) if batches == 1 else (groups, n // batches, -1)
    windows = windows.reshape(*shape, *windows.shape[2:])
    if batches > 1:
        windows = windows.swapaxes(0, 1)
    # example, group, channel, place, offset -> group, example, place, channel, offset
    rest = range(3, 3 + spatial), range(3 + spatial, 3 + 2 * spatial)
    windows = windows.transpose(1, 0, *rest[0], 2, *rest[1])
    terms = math.prod(w.shape[1:])
    rows = windows.reshape(groups, -1, terms)
    columns = w.reshape(groups, -1, terms).swapaxes(1, 2)
    y = (rows @ columns).reshape(groups, n // batches, *places, -1)
    # group, example, place, feature -> example, group, feature, place
    y = y.transpose(1, 0, y.ndim - 1, *range(2, 2 + spatial))
    y = y.reshape(n // batches, w.shape[0], *places)
    return y.transpose(np.argsort(out))


def sum_windows(x, p):
    """JAX's `reduce_window_sum`, or None where no window fits."""
    base = zip(p["padding"], p["base_dilation"], strict=True)
    x = pad(x, 0, {"padding_config": [(*edges, d - 1) for edges, d in base]})
    spans = [
        (k - 1) * d + 1
        for k, d in zip(p["window_dimensions"], p["window_dilation"], strict=True)
    ]
    if any(n < k for n, k in zip(x.shape, spans, strict=True)):
        return None
    windows = sliding_window_view(x, spans)
    steps = (*p["window_strides"], *p["window_dilation"])
    windows = windows[tuple(slice(None, None, s) for s in steps)]
    return windows.sum(tuple(range(x.ndim, 2 * x.ndim)))
