r"""Convolution (cross-correlation) over 1, 2 or 3 spatial axes, channels last.

**Forward.** With stride $s$, dilation $d$ and the padding's low side $l$, for every image
$n$, output position $i$ and output channel $o$,

$$y[n, i, o] = b[o] + \sum_{k, c} x[n,\ s i + d k - l,\ c]\; w[k, c, o],$$

where $i$ and $k$ run over all spatial axes and $x$ is zero outside the image. With $g$
groups the channels fall into $g$ equal blocks, and output block $j$ sees input block $j$.

**Backward.** $y$ is linear in $w$ and $x$ apart, so each pullback is the transpose of one
sum. For the filter, every tap $k$ is a matrix product of the shifted input with $\bar y$:

$$\bar w[k, c, o] = \sum_{n, i} x[n,\ s i + d k - l,\ c]\; \bar y[n, i, o].$$

For the input, collect the outputs that read position $p = s i + d k - l$:

$$\bar x[n, p, c] =
\sum_{k, o}\ \sum_{i:\, s i = p + l - d k} \bar y[n, i, o]\; w[k, c, o].$$

Put $s - 1$ zeros between the elements of $\bar y$ and turn the kernel around,
$k \to K - 1 - k$: this is a convolution of $\bar y$ with dilation $d$, stride 1, channels
swapped within each group, and the padding $d(K-1) - l$ on the low side.
$\bar b = \sum_{n,i} \bar y[n, i]$.

**Speed.** On a CPU these sums are taken in an order chosen from the shapes, where the
compiler's own convolution is slow: as matrix products, as shifted images if depthwise, an
image, a row of it, or a phase of the stride at a time. `funcnn/kernels/convolution` has
them; other platforms run their own convolution.

**Residuals.** $x$ and $w$: both are inputs, so nothing new is stored; $b$ for its dtype.
"""

import operator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from funcnn.foundation._checks import float_arrays, integer
from funcnn.foundation._compiler import apart
from funcnn.foundation._cotangents import cast_like
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._dtypes import promote, upcast
from funcnn.foundation._mesh import by_device
from funcnn.foundation._products import rows
from funcnn.foundation._shapes import fitting_bias
from funcnn.kernels._windows import spatial_rank, windows
from funcnn.kernels.convolution import convolve, filter_gradient, input_gradient


@partial(custom_vjp, nondiff_argnums=(3, 4, 5, 6))
def conv(
    x: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None = None,
    stride=1,
    padding="SAME",
    dilation=1,
    groups: int = 1,
) -> jax.Array:
    """Convolve images with a kernel.

    Args:
        x: shape `(N, *spatial, C)` with 1, 2 or 3 spatial axes.
        weight: shape `(*kernel, C // groups, O)`.
        bias: shape `(O,)`, or None for no bias.
        stride: an int, or one per spatial axis.
        padding: "SAME" (output length is input length / stride, rounded up), "VALID"
            (none), an int for all sides, or one (low, high) pair per spatial axis.
        dilation: the kernel's, an int or one per spatial axis.
        groups: the number of blocks of channels; divides C and O. With `groups=C` the
            convolution is depthwise.

    Returns:
        Shape `(N, *out, O)`, of the dtype that the arguments promote to.

    Raises:
        TypeError: if an array is not floating-point or a number not an integer.
        ValueError: if shapes, stride, padding, dilation or groups do not fit.
    """
    return conv_fwd(x, weight, bias, stride, padding, dilation, groups)[0]


def conv_fwd(x, weight, bias, stride, padding, dilation, groups):
    x, weight, bias = float_arrays(
        "conv", x=x, weight=weight, bias=bias, optional=("bias",)
    )
    spatial_rank("conv", x.shape)
    groups = integer("conv", "groups", groups, minimum=1)
    channels = x.shape[-1]
    if channels % groups:
        raise ValueError(
            f"conv needs groups that divide the {channels} channels of x; got {groups}."
        )
    if weight.ndim != x.ndim or weight.shape[-2] != channels // groups:
        kernel = weight.shape[:-2] if weight.ndim == x.ndim else ("k",) * (x.ndim - 2)
        needed = ", ".join(map(str, (*kernel, channels // groups, "O")))
        raise ValueError(
            f"conv needs weight of shape ({needed}) for x of shape {x.shape} and "
            f"groups {groups}; got {weight.shape}."
        )
    if weight.shape[-1] % groups:
        raise ValueError(
            f"conv needs groups that divide the {weight.shape[-1]} output channels of "
            f"weight; got {groups}."
        )
    fitting_bias("conv", weight, bias)
    w = windows("conv", x.shape[1:-1], weight.shape[:-2], stride, padding, dilation)
    dtype = promote(*(a for a in (x, weight, bias) if a is not None))

    def local(x, weight, bias):
        y = convolve(x, weight, w, groups)
        if bias is not None:
            # a norm reads it several times
            y = apart(operator.add, y.shape, y, bias.astype(y.dtype))
        return y.astype(dtype)

    arrays = x, weight, bias
    return by_device(local, arrays)(*arrays), arrays


def conv_bwd(stride, padding, dilation, groups, residuals, dy):
    x, weight, bias = residuals
    w = windows("conv", x.shape[1:-1], weight.shape[:-2], stride, padding, dilation)

    def local(x, dy, weight):
        dx = input_gradient(dy, weight, w, groups)
        dweight = filter_gradient(x, dy, w, groups)
        return dx, (dweight, None if bias is None else upcast(dy).sum(rows(dy)))

    arrays = x, dy, weight
    dx, totals = by_device(local, arrays, 2, totals=True)(*arrays)
    return cast_like((dx, *totals), residuals)


conv.defvjp(conv_fwd, conv_bwd)


def conv_reference(x, weight, bias=None, stride=1, padding="SAME", dilation=1, groups=1):
    """The definition, left to `jax.grad`: gather all windows, multiply, sum."""
    w = windows("conv", x.shape[1:-1], weight.shape[:-2], stride, padding, dilation)
    x = jnp.pad(x, ((0, 0), *w.padding, (0, 0)))
    read = [
        s * np.arange(n)[:, None] + d * np.arange(k)
        for n, k, s, d in zip(w.out, w.kernel, w.stride, w.dilation, strict=True)
    ]
    for axis, index in enumerate(read):  # (N, out, kernel) for each axis in turn
        x = x[(slice(None),) * (2 * axis + 1) + (index,)]
    i, k = "abc"[: len(read)], "xyz"[: len(read)]
    x = x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)
    weight = weight.reshape(*weight.shape[:-1], groups, weight.shape[-1] // groups)
    pairs = "".join(map("".join, zip(i, k, strict=True)))
    y = jnp.einsum(f"n{pairs}gi,{k}igo->n{i}go", x, weight)
    y = y.reshape(*y.shape[:-2], y.shape[-2] * y.shape[-1])
    return y if bias is None else y + bias


def conv_cases(rng):
    """Arguments on which every claim is tested."""
    normal = rng.standard_normal
    image = normal((2, 6, 5, 3))
    return {
        "3x3": (image, normal((3, 3, 3, 2)), normal(2)),
        "no bias, 1x1": (image, normal((1, 1, 3, 2))),
        "even kernel, VALID": (image, normal((2, 4, 3, 2)), normal(2), 1, "VALID"),
        "stride 2": (image, normal((3, 2, 3, 2)), normal(2), 2),
        "stride over kernel": (image, normal((2, 1, 3, 2)), normal(2), (3, 2), "VALID"),
        "one sided padding": (image, normal((2, 3, 3, 2)), normal(2), 2, ((2, 0), (0, 1))),
        "padding over kernel": (image, normal((2, 2, 3, 1)), normal(1), 1, 3),
        "dilation": (image, normal((3, 2, 3, 2)), normal(2), (1, 2), "SAME", (2, 3)),
        "groups": (normal((2, 4, 5, 4)), normal((2, 2, 2, 6)), normal(6), 2, "SAME", 1, 2),
        "depthwise": (normal((1, 4, 4, 3)), normal((2, 3, 1, 6)), None, 1, 1, 1, 3),
        "1 axis": (normal((2, 9, 2)), normal((4, 2, 3)), normal(3), 2, "SAME", 2),
        "3 axes": (normal((1, 4, 3, 3, 2)), normal((2, 1, 2, 1, 2)), None, 2, 1, 1, 2),
        "empty batch": (normal((0, 4, 4, 2)), normal((2, 2, 2, 2)), normal(2)),
        "badly scaled": (1e5 * image, 1e-5 * normal((3, 3, 3, 2)), 10 + normal(2)),
    }
