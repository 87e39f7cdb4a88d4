r"""Rows of patches added back into an image ("column to image"), the transpose of im2col.

**Forward.** Every element of a row is added where im2col would have read it; what falls on
the padding is dropped:

$$y[n, p, c] = \sum_{(i, k):\ s i + d k - l = p} x[n, i, (k, c)].$$

**Backward.** The transpose of a transpose: `im2col` of the cotangent,

$$\bar x[n, i, (k, c)] = \bar y[n,\ s i + d k - l,\ c].$$

**Residuals.** None: the map is linear. Only the dtype of $x$ is remembered.
"""

from functools import partial

import jax
import jax.numpy as jnp

from funcnn.foundation._checks import float_arrays, integer
from funcnn.foundation._cotangents import Like
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.kernels._windows import window_size, windows
from funcnn.ops._im2col import as_rows, from_rows


@partial(custom_vjp, nondiff_argnums=(1, 2, 3, 4, 5))
def col2im(
    cols: jax.Array, shape, kernel_size, stride=1, padding="SAME", dilation=1
) -> jax.Array:
    """Add windows laid out as rows back into images.

    Args:
        cols: shape `(N, *out, prod(kernel) * C)`, as from im2col.
        shape: the image's, `(N, *spatial, C)`.
        kernel_size: an int, or one per spatial axis.
        stride: an int, or one per spatial axis.
        padding: "SAME", "VALID", an int, or one (low, high) pair per spatial axis.
        dilation: an int, or one per spatial axis.

    Returns:
        An array of `shape` and the dtype of `cols`; overlaps are summed in at least
        float32.

    Raises:
        TypeError: if `cols` is not floating-point or a number not an integer.
        ValueError: if the shapes and the windows do not fit.
    """
    return col2im_fwd(cols, shape, kernel_size, stride, padding, dilation)[0]


def col2im_fwd(cols, shape, kernel_size, stride, padding, dilation):
    (cols,) = float_arrays("col2im", cols=cols)
    w = col2im_windows(shape, kernel_size, stride, padding, dilation)
    needed = (shape[0], *w.out, window_size(w) * shape[-1])
    if cols.shape != needed:
        raise ValueError(
            f"col2im needs cols of shape {needed} for images of shape {tuple(shape)}; "
            f"got {cols.shape}."
        )
    return from_rows(cols, w).astype(cols.dtype), Like.of(cols)


def col2im_bwd(shape, kernel_size, stride, padding, dilation, cols, dy):
    w = col2im_windows(shape, kernel_size, stride, padding, dilation)
    return (as_rows(dy, w).astype(cols.dtype),)


col2im.defvjp(col2im_fwd, col2im_bwd)


def col2im_windows(shape, kernel_size, stride, padding, dilation):
    if not isinstance(shape, tuple | list) or len(shape) not in (3, 4, 5):
        raise ValueError(
            "col2im needs a shape (N, *spatial, C) with 1, 2 or 3 spatial axes; "
            f"got {shape}."
        )
    size = [integer("col2im", "shape", n, minimum=0) for n in shape]
    return windows("col2im", size[1:-1], kernel_size, stride, padding, dilation)


def col2im_reference(cols, shape, kernel_size, stride=1, padding="SAME", dilation=1):
    """The definition, left to `jax.grad`: scatter every element of every row."""
    w = windows("col2im", shape[1:-1], kernel_size, stride, padding, dilation)
    padded = [n + low + high for n, (low, high) in zip(w.size, w.padding, strict=True)]
    image = jnp.zeros((shape[0], *padded, shape[-1]), cols.dtype)
    cols = cols.reshape(shape[0], *w.out, *w.kernel, shape[-1])
    rank = len(w.size)
    index = []
    for axis in range(rank):
        i, k = jnp.arange(w.out[axis]), jnp.arange(w.kernel[axis])
        reads = w.stride[axis] * i[:, None] + w.dilation[axis] * k
        spread = [1] * (2 * rank)
        spread[axis], spread[rank + axis] = w.out[axis], w.kernel[axis]
        index.append(reads.reshape(spread))
    image = image.at[:, *index].add(cols)
    inside = (slice(low, low + n) for n, (low, _) in zip(w.size, w.padding, strict=True))
    return image[:, *inside]


def col2im_cases(rng):
    """Arguments on which every claim is tested."""
    normal = rng.standard_normal
    return {
        "3x3": (normal((2, 5, 4, 27)), (2, 5, 4, 3), 3),
        "1x1": (normal((2, 5, 4, 3)), (2, 5, 4, 3), 1),
        "stride, VALID": (normal((2, 2, 2, 18)), (2, 5, 4, 3), (2, 3), (2, 1), "VALID"),
        "stride over kernel": (normal((2, 2, 2, 3)), (2, 5, 4, 3), 1, 3),
        "dilation": (normal((2, 5, 4, 12)), (2, 5, 4, 3), 2, 1, "SAME", (2, 3)),
        "one sided padding": (normal((2, 3, 2, 12)), (2, 5, 4, 3), 2, 2, ((2, 0), (0, 1))),
        "1 axis": (normal((2, 4, 8)), (2, 7, 2), 4, 2),
        "3 axes": (normal((1, 2, 2, 2, 16)), (1, 3, 4, 3, 2), 2, 2),
        "empty batch": (normal((0, 4, 4, 18)), (0, 4, 4, 2), 3),
    }
