r"""Transposed convolution over 1, 2 or 3 spatial axes, channels last.

**Forward.** Put $s - 1$ zeros between the elements of $x$ and slide the kernel over the
result, with dilation $d$ and the padding's low side $l$: for every image $n$, position $p$
and output channel $o$,

$$y[n, p, o] = b[o] + \sum_{k, c}\ \sum_{i:\, s i = p + d k - l} x[n, i, c]\; w[k, c, o].$$

Each $x[n, i]$ lands on the outputs $p = s i + l - d k$. Turn the kernel around,
$k = K - 1 - k'$, and these are the positions $s i + d k' - l'$ with $l' = d (K - 1) - l$
that a convolution of stride $s$ and padding $l'$ reads for its output $i$: the transposed
convolution is the transpose of that convolution, whose geometry all three maps below share.
With $w'[k', o, c] = w[K - 1 - k', c, o]$ it is the gradient of its input.

**Backward.** So the pullback to $x$ is that convolution itself,

$$\bar x[n, i, c] = \sum_{k', o} \bar y[n,\ s i + d k' - l',\ o]\; w'[k', o, c],$$

and the pullback to $w'$ the gradient of its kernel, with $\bar y$ for the input and $x$ for
the output's cotangent. $\bar b = \sum_{n, p} \bar y[n, p]$.

**Residuals.** $x$ and $w$: both are inputs, so nothing new is stored; $b$ for its dtype.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from funcnn.foundation._checks import float_arrays
from funcnn.foundation._cotangents import cast_like
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._dtypes import promote, upcast
from funcnn.foundation._mesh import by_device
from funcnn.foundation._products import rows
from funcnn.foundation._shapes import fitting_bias
from funcnn.kernels._windows import spatial_rank, transposed_windows
from funcnn.kernels.convolution import convolve, filter_gradient, input_gradient


@partial(custom_vjp, nondiff_argnums=(3, 4, 5))
def conv_transpose(
    x: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None = None,
    stride=1,
    padding="SAME",
    dilation=1,
) -> jax.Array:
    """Convolve images, spread out by a stride, with a kernel.

    It has the shapes and values of `jax.lax.conv_transpose`: the kernel is not turned
    around, and padding is put around the image that is spread out.

    Args:
        x: shape `(N, *spatial, C)` with 1, 2 or 3 spatial axes.
        weight: shape `(*kernel, C, O)`.
        bias: shape `(O,)`, or None for no bias.
        stride: an int, or one per spatial axis: the output is about so many times longer.
        padding: "SAME" (output length is input length times stride), "VALID" (all
            positions that an element of `x` reaches, and those up to the stride), an int
            for all sides, or one (low, high) pair per spatial axis.
        dilation: the kernel's, an int or one per spatial axis.

    Returns:
        Shape `(N, *out, O)`, of the dtype that the arguments promote to.

    Raises:
        TypeError: if an array is not floating-point or a number not an integer.
        ValueError: if shapes, stride, padding or dilation do not fit.
    """
    return conv_transpose_fwd(x, weight, bias, stride, padding, dilation)[0]


def conv_transpose_fwd(x, weight, bias, stride, padding, dilation):
    x, weight, bias = float_arrays(
        "conv_transpose", x=x, weight=weight, bias=bias, optional=("bias",)
    )
    spatial_rank("conv_transpose", x.shape)
    if weight.ndim != x.ndim or weight.shape[-2] != x.shape[-1]:
        kernel = weight.shape[:-2] if weight.ndim == x.ndim else ("k",) * (x.ndim - 2)
        needed = ", ".join(map(str, (*kernel, x.shape[-1], "O")))
        raise ValueError(
            f"conv_transpose needs weight of shape ({needed}) for x of shape {x.shape}; "
            f"got {weight.shape}."
        )
    fitting_bias("conv_transpose", weight, bias)
    w = geometry(x, weight, stride, padding, dilation)
    dtype = promote(*(a for a in (x, weight, bias) if a is not None))

    def local(x, weight, bias):
        y = input_gradient(x, turned(weight), w)
        if bias is not None:
            y = y + bias.astype(y.dtype)
        return y.astype(dtype)

    arrays = x, weight, bias
    return by_device(local, arrays)(*arrays), arrays


def conv_transpose_bwd(stride, padding, dilation, residuals, dy):
    x, weight, bias = residuals
    w = geometry(x, weight, stride, padding, dilation)

    def local(x, dy, weight):
        dx = convolve(dy, turned(weight), w)
        dweight = turned(filter_gradient(dy, x, w))
        return dx, (dweight, None if bias is None else upcast(dy).sum(rows(dy)))

    arrays = x, dy, weight
    dx, totals = by_device(local, arrays, 2, totals=True)(*arrays)
    return cast_like((dx, *totals), residuals)


conv_transpose.defvjp(conv_transpose_fwd, conv_transpose_bwd)


def geometry(x, weight, stride, padding, dilation):
    """That of the convolution which is transposed."""
    size, kernel = x.shape[1:-1], weight.shape[:-2]
    return transposed_windows("conv_transpose", size, kernel, stride, padding, dilation)


def turned(weight):
    """The kernel turned around, input and output channels exchanged; its own inverse."""
    return jnp.flip(weight, range(weight.ndim - 2)).swapaxes(-1, -2)


def conv_transpose_reference(x, weight, bias=None, stride=1, padding="SAME", dilation=1):
    """The definition, left to `jax.grad`: spread out, gather all windows, sum."""
    w = geometry(x, weight, stride, padding, dilation)
    for axis, (n, s, d, k, m, (low, high)) in enumerate(
        zip(w.out, w.stride, w.dilation, w.kernel, w.size, w.padding, strict=True)
    ):
        axis = 2 * axis + 1  # behind it, axes of positions and taps alternate
        lows, highs = d * (k - 1) - low, d * (k - 1) - high
        places = np.arange(lows + (n - 1) * s + 1 + highs)[:, None]
        spread = jnp.asarray(places == lows + s * np.arange(n), x.dtype)
        x = jnp.moveaxis(jnp.tensordot(x, spread, (axis, 1)), -1, axis)
        index = np.arange(m)[:, None] + d * np.arange(k)
        x = x[(slice(None),) * axis + (index,)]
    i, k = "pqr"[: len(w.out)], "xyz"[: len(w.out)]
    pairs = "".join(map("".join, zip(i, k, strict=True)))
    y = jnp.einsum(f"n{pairs}c,{k}co->n{i}o", x, weight)
    return y if bias is None else y + bias


def conv_transpose_cases(rng):
    """Arguments on which every claim is tested."""
    normal = rng.standard_normal
    image = normal((2, 4, 3, 3))
    return {
        "3x3": (image, normal((3, 3, 3, 2)), normal(2)),
        "no bias, stride 2": (image, normal((2, 2, 3, 2)), None, 2),
        "overlapping": (image, normal((3, 4, 3, 2)), normal(2), 2),
        "VALID": (image, normal((3, 2, 3, 2)), normal(2), (1, 2), "VALID"),
        "stride over kernel": (image, normal((2, 1, 3, 2)), normal(2), (3, 2), "VALID"),
        "one sided padding": (image, normal((2, 3, 3, 1)), normal(1), 2, ((2, 0), (0, 1))),
        "no padding": (image, normal((2, 3, 3, 1)), normal(1), 1, 0),
        "padding over kernel": (image, normal((2, 2, 3, 1)), normal(1), 2, 3),
        "dilation": (image, normal((3, 2, 3, 2)), normal(2), (1, 2), "SAME", (2, 3)),
        "1 axis": (normal((2, 5, 2)), normal((4, 2, 3)), normal(3), 2, "SAME", 2),
        "3 axes": (normal((1, 3, 2, 2, 2)), normal((2, 1, 2, 2, 1)), None, 2, "VALID"),
        "empty batch": (image[:0], normal((2, 2, 3, 2)), normal(2)),
        "badly scaled": (1e5 * image, 1e-5 * normal((3, 3, 3, 2)), 10 + normal(2)),
    }
