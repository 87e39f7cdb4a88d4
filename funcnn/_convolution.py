r"""The three linear maps of a convolution, which `conv` and `conv_transpose` share.

With the geometry `w` of its windows, the convolution is a sum over taps $k$,

$$y[n, i, o] = \sum_{k, c} x[n,\ s i + d k - l,\ c]\; w[k, c, o].$$

It is linear in the input and in the kernel, and its transposes in one and the other are
`input_gradient` and `filter_gradient`. The transposed convolution is the first of these.
"""

import jax
import jax.numpy as jnp

from funcnn._numerics import accumulator, contract, promote, rows
from funcnn._windows import Windows, take_taps


def convolve(x, weight, w: Windows, groups=1):
    """The sum over taps: `(N, *size, C)` to `(N, *out, O)`, in at least float32."""
    return windowed_sum(x, weight, w.stride, w.padding, w.dilation, groups)


def input_gradient(dy, weight, w: Windows, groups=1):
    """A sum over taps of the dilated `dy: (N, *out, O)` with the kernel turned around."""
    *kernel, c, o = weight.shape
    spatial = tuple(range(len(kernel)))
    turned = jnp.flip(weight, spatial).reshape(*kernel, c, groups, o // groups)
    turned = jnp.moveaxis(turned, (-1, -2), (-3, -2))  # (*kernel, o / groups, groups, c)
    turned = turned.reshape(*kernel, o // groups, groups * c)
    padding = []
    for n, k, m, s, d, (low, _) in zip(
        w.size, w.kernel, w.out, w.stride, w.dilation, w.padding, strict=True
    ):
        reach = d * (k - 1)
        first = reach - low
        padding.append((first, n + low - ((m - 1) * s + 1)))
    return windowed_sum(
        dy, turned, (1,) * len(kernel), padding, w.dilation, groups, between=w.stride
    )


def filter_gradient(x, dy, w: Windows, groups=1):
    """One matrix product a tap and group, of shape `(*kernel, C // groups, O)`."""
    products = []
    dy = dy.reshape(*dy.shape[:-1], groups, dy.shape[-1] // groups)
    over, group = rows(dy)[:-1], (dy.ndim - 2,)
    for tap in take_taps(x, w):
        tap = tap.reshape(*tap.shape[:-1], groups, tap.shape[-1] // groups)
        product = contract(
            tap, dy, over, over, accumulator(promote(tap, dy)), batch=(group, group)
        )
        products.append(jnp.moveaxis(product, 0, 1).reshape(tap.shape[-1], -1))
    return jnp.stack(products).reshape(*w.kernel, *products[0].shape)


def windowed_sum(x, weight, stride, padding, dilation, groups, between=None):
    """JAX's convolution; `between` puts zeros between the elements of `x`."""
    axes = "DHW"[5 - x.ndim :]
    common = promote(x, weight)
    return jax.lax.conv_general_dilated(
        x.astype(common),
        weight.astype(common),
        stride,
        padding,
        lhs_dilation=between,
        rhs_dilation=dilation,
        dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
        feature_group_count=groups,
        preferred_element_type=accumulator(common),
    )
