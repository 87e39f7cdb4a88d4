"""What the formulations of a convolution have in common."""

import math

import jax
import jax.numpy as jnp

from funcnn.kernels._taps import edges
from funcnn.kernels._windows import Windows


def transposed(w: Windows) -> Windows:
    """The windows over the outputs of `w`, of stride 1, that give back its inputs.

    Paddings may be negative: they crop.
    """
    padding = tuple(
        (d * (k - 1) - low, n + low - m)
        for n, k, m, d, (low, _) in zip(
            w.size, w.kernel, w.out, w.dilation, w.padding, strict=True
        )
    )
    return w._replace(size=w.out, stride=(1,) * len(w.out), padding=padding, out=w.size)


def turned(weight, groups):
    """The kernel turned around, `(*kernel, C / g, O)` to `(*kernel, O / g, C)`."""
    *kernel, c, o = weight.shape
    if groups == 1 and math.prod(kernel) == 1:  # a product takes it as it is, transposed
        return weight.reshape(c, o).T.reshape(*kernel, o, c)
    spatial = tuple(range(len(kernel)))
    weight = jnp.flip(weight, spatial).reshape(*kernel, c, groups, o // groups)
    weight = jnp.moveaxis(weight, (-1, -2), (-3, -2))  # (*kernel, o / g, g, c)
    return weight.reshape(*kernel, o // groups, groups * c)


def padded(x, w: Windows):
    """The images with their zeros around them, and the windows over that."""
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), edges(w))
    return x, w._replace(size=x.shape[1:-1], padding=((0, 0),) * len(w.size))
