r"""Sliding windows over channels-last images: the geometry that conv and pools share.

A window has one *tap* for each of its elements. Tap $k$ of $x$ is the strided slice
$x[n,\ s\,o + d\,k - \text{low},\ c]$ over all output positions $o$: an array of the
output's spatial shape. Every windowed op is a sum, maximum or stack over taps, and the
transpose of taking a tap puts its cotangent back where it came from.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np

from funcnn.foundation._checks import integer

PADDINGS = "'SAME', 'VALID', an int, or one (low, high) pair per spatial axis"


class Windows(NamedTuple):
    """Static geometry, one entry per spatial axis in each field."""

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    out: tuple[int, ...]

    def along(self, axis):
        """The part of the geometry on one spatial axis, those behind it being done.

        A box is a product of intervals: sums and maxima over it can be taken one axis
        after another, from the last to the first, with fewer taps.
        """

        def only(mine, rest):
            return tuple(mine[i] if i == axis else rest for i in range(len(mine)))

        size = self.size[: axis + 1] + self.out[axis + 1 :]
        out = self.size[:axis] + self.out[axis:]
        return Windows(
            size,
            only(self.kernel, 1),
            only(self.stride, 1),
            only(self.padding, (0, 0)),
            only(self.dilation, 1),
            out,
        )

    def offsets(self):
        """Each tap's first index in the padded input, in row-major order."""
        axes = zip(self.kernel, self.dilation, strict=True)
        return list(itertools.product(*(range(0, k * d, d) for k, d in axes)))


def windows(op, size, kernel, stride, padding, dilation=1) -> Windows:
    """Check and complete the geometry of windows over an image of spatial shape `size`.

    Raises:
        TypeError: if a number is not an integer, or the padding is none of its kinds.
        ValueError: if a number is out of range, or no window fits.
    """
    rank = len(size)
    kernel = _per_axis(op, "kernel_size", kernel, rank)
    stride = _per_axis(op, "stride", stride, rank)
    dilation = _per_axis(op, "dilation", dilation, rank)
    span = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    pads = _pads(op, padding, size, span, stride)
    out = []
    for n, (low, high), reach, step in zip(size, pads, span, stride, strict=True):
        if n + low + high < reach:
            raise ValueError(
                f"{op} needs every spatial axis, padded, at least as long as the window's "
                f"{tuple(span)}; got {tuple(size)} with padding {pads}."
            )
        out.append((n + low + high - reach) // step + 1)
    return Windows(tuple(size), kernel, stride, pads, dilation, tuple(out))


def transposed_windows(op, size, kernel, stride, padding, dilation=1) -> Windows:
    """The windows whose outputs are an image of spatial shape `size`: its transpose's.

    `padding` is that of the image with `stride - 1` zeros between its elements.
    "SAME" makes the transpose's output `stride` times as long, "VALID" as long as the
    taps reach, and at least up to the stride.

    Raises:
        TypeError, ValueError: as `windows`.
    """
    rank = len(size)
    kernel = _per_axis(op, "kernel_size", kernel, rank)
    stride = _per_axis(op, "stride", stride, rank)
    dilation = _per_axis(op, "dilation", dilation, rank)
    reach = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    if isinstance(padding, str) and padding.upper() in ("SAME", "VALID"):
        pads = []
        for r, s in zip(reach, stride, strict=True):
            total = r + s - 1
            low = r if s > r else (total + 1) // 2
            if padding.upper() == "VALID":
                total, low = total + max(r + 1 - s, 0), r
            pads.append((low, total - low))
    else:
        pads = list(_pads(op, padding, size, reach, stride))
    out = []
    for n, r, s, (low, high) in zip(size, reach, stride, pads, strict=True):
        out.append((n - 1) * s + 1 + low + high - r)
        if n < 1 or out[-1] < 1:
            raise ValueError(
                f"{op} needs every spatial axis, spread out and padded, at least as long "
                f"as the window's {tuple(r + 1 for r in reach)}; got {tuple(size)} with "
                f"stride {stride} and padding {tuple(pads)}."
            )
    inner = tuple((r - a, r - b) for r, (a, b) in zip(reach, pads, strict=True))
    return Windows(tuple(out), kernel, stride, inner, dilation, tuple(size))


def _per_axis(op, name, value, rank):
    values = tuple(value) if isinstance(value, tuple | list) else (value,) * rank
    if len(values) != rank:
        raise ValueError(
            f"{op} needs an int {name} or one for each of {rank} spatial axes; got {value}."
        )
    return tuple(integer(op, name, v, minimum=1) for v in values)


def _pads(op, padding, size, span, stride):
    if isinstance(padding, str):
        if padding.upper() == "VALID":
            return ((0, 0),) * len(size)
        if padding.upper() == "SAME":
            totals = [
                max((-(-n // step) - 1) * step + reach - n, 0)
                for n, reach, step in zip(size, span, stride, strict=True)
            ]
            return tuple((total // 2, total - total // 2) for total in totals)
    elif isinstance(padding, tuple | list):
        pairs = [tuple(p) if isinstance(p, tuple | list) else () for p in padding]
        if len(pairs) == len(size) and all(len(p) == 2 for p in pairs):
            return tuple(
                (integer(op, "padding", a, minimum=0), integer(op, "padding", b, minimum=0))
                for a, b in pairs
            )
    elif isinstance(padding, int | np.integer):
        return ((integer(op, "padding", padding, minimum=0),) * 2,) * len(size)
    raise ValueError(f"{op} needs a padding of {PADDINGS}; got {padding!r}.")


def spatial_rank(op, shape):
    """Check that `shape` is `(N, *spatial, C)` with 1, 2 or 3 spatial axes.

    Raises:
        ValueError: if it has another rank.
    """
    if len(shape) not in (3, 4, 5):
        raise ValueError(
            f"{op} needs x of shape (N, *spatial, C) with 1, 2 or 3 spatial axes; "
            f"got {shape}."
        )


def window_size(w: Windows) -> int:
    """The number of taps."""
    return math.prod(w.kernel)


def pool_windows(op, shape, window, stride, padding) -> Windows:
    """Geometry of a pooling op over `x` of `shape`; a stride of None is the window.

    Raises:
        TypeError: as `windows`.
        ValueError: as `windows`, and if a window could fall on padding alone.
    """
    spatial_rank(op, shape)
    window = _per_axis(op, "window", window, len(shape) - 2)
    w = windows(op, shape[1:-1], window, window if stride is None else stride, padding)
    if any(max(pads) >= k for pads, k in zip(w.padding, w.kernel, strict=True)):
        raise ValueError(
            f"{op} needs padding smaller than the window {w.kernel}; got {w.padding}."
        )
    return w
