"""The taps of images in windows, one array for each element of a window, and back.

Tap `k` is a strided slice of the padded images. Taking one transposed puts its cotangent
back where it came from.
"""

import jax
import jax.numpy as jnp

from funcnn.kernels._windows import Windows


def take_taps(x, w: Windows, fill=0.0):
    """The taps of `x: (N, *size, C)`, each `(N, *out, C)`, padding read as `fill`."""
    config = [(0, 0, 0), *((low, high, 0) for low, high in w.padding), (0, 0, 0)]
    x = jax.lax.pad(x, jnp.asarray(fill, x.dtype), config)
    strides = (1, *w.stride, 1)
    reach = [(n - 1) * s + 1 for n, s in zip(w.out, w.stride, strict=True)]
    return [
        jax.lax.slice(
            x,
            (0, *offset, 0),
            (x.shape[0], *(o + r for o, r in zip(offset, reach, strict=True)), x.shape[-1]),
            strides,
        )
        for offset in w.offsets()
    ]


def put_taps(taps, w: Windows):
    """Add taps `(N, *out, C)` up where they came from: the transpose of `take_taps`.

    Returns `(N, *size, C)`; what falls on the padding is dropped.
    """
    placed = []
    for tap, offset in zip(taps, w.offsets(), strict=True):
        config = [
            (o - low, n + low - o - ((m - 1) * s + 1), s - 1)
            for o, n, m, s, (low, _) in zip(
                offset, w.size, w.out, w.stride, w.padding, strict=True
            )
        ]
        # Negative low and high crop, which is how the padding's share is dropped.
        zero = jnp.zeros((), tap.dtype)
        placed.append(jax.lax.pad(tap, zero, [(0, 0, 0), *config, (0, 0, 0)]))
    return sum(placed[1:], start=placed[0])
