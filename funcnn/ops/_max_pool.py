r"""Maximum over sliding windows.

**Forward.** With window taps $k$, stride $s$, and $x = -\infty$ outside the image,

$$y[n, i, c] = \max_k\ x[n,\ s i + k - l,\ c].$$

**Backward.** Where the maximum is attained once, at tap $k^*(n, i, c)$, $y$ moves with that
element alone: $\dot y[n, i, c] = \dot x[n,\ s i + k^* - l,\ c]$. The transpose adds each
cotangent to the element that won its window:

$$\bar x[n, p, c] = \sum_{(i, k):\ s i + k - l = p} [k = k^*(n, i, c)]\ \bar y[n, i, c].$$

**Ties.** The first maximum of the window in row-major order wins and gets the whole
cotangent, a valid subgradient (as in PyTorch).

**Residuals.** $k^*$ and the shape and dtype of $x$: the input itself need not be kept. A
window is a product of intervals, so the maximum is taken along one axis after another,
from the last to the first, and $k^*$ is kept as one small integer per axis and element:
the first maximum of the first row that holds it.
"""

from functools import partial

import jax
import jax.numpy as jnp

from funcnn.foundation._checks import float_arrays
from funcnn.foundation._cotangents import Like
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._dtypes import upcast
from funcnn.kernels._largest import largest_along, to_the_largest
from funcnn.kernels._windows import pool_windows


@partial(custom_vjp, nondiff_argnums=(1, 2, 3))
def max_pool(x: jax.Array, window, stride=None, padding="VALID") -> jax.Array:
    """Take the maximum of each window.

    Args:
        x: shape `(N, *spatial, C)` with 1, 2 or 3 spatial axes.
        window: an int, or one per spatial axis.
        stride: an int, or one per spatial axis; None means `window`.
        padding: "SAME", "VALID", an int, or one (low, high) pair per spatial axis,
            smaller than the window. Padding never wins: it counts as minus infinity.

    Returns:
        Shape `(N, *out, C)` and dtype of `x`. NaN in a window wins it.

    Raises:
        TypeError: if `x` is not floating-point or a number not an integer.
        ValueError: if the shape of `x` and the windows do not fit.
    """
    return max_pool_fwd(x, window, stride, padding)[0]


def max_pool_fwd(x, window, stride, padding):
    (x,) = float_arrays("max_pool", x=x)
    w = pool_windows("max_pool", x.shape, window, stride, padding)
    y, winners = x, []
    for axis in reversed(range(len(w.size))):
        y, winner = largest_along(y, w, axis)
        winners.append(winner)
    return y, (winners, Like.of(x))


def max_pool_bwd(window, stride, padding, residuals, dy):
    winners, x = residuals
    w = pool_windows("max_pool", x.shape, window, stride, padding)
    dx = upcast(dy)
    for axis, winner in enumerate(reversed(winners)):
        dx = to_the_largest(dx, winner, w, axis)
    return (dx.astype(x.dtype),)


max_pool.defvjp(max_pool_fwd, max_pool_bwd)


def max_pool_reference(x, window, stride=None, padding="VALID"):
    """The definition, left to `jax.grad`: pick each window's first largest element."""
    w = pool_windows("max_pool", x.shape, window, stride, padding)
    edges = ((0, 0), *w.padding, (0, 0))
    x = jnp.pad(x, edges, constant_values=-jnp.inf)
    taps = []
    for k in w.offsets():
        ends = [a + (m - 1) * s + 1 for a, m, s in zip(k, w.out, w.stride, strict=True)]
        cut = map(slice, k, ends, w.stride)
        taps.append(x[:, *cut])
    stack = jnp.stack(taps)
    return jnp.take_along_axis(stack, jnp.argmax(stack, 0)[None], 0)[0]


def max_pool_cases(rng):
    """Arguments on which every claim is tested."""
    image = rng.standard_normal((2, 5, 6, 3))
    return {
        "2x2": (image, 2),
        "overlapping, SAME": (image, 3, 2, "SAME"),
        "stride over window": (image, (2, 1), (3, 2)),
        "padding": (image, 3, (1, 2), ((1, 0), (2, 1))),
        "ties": (rng.integers(0, 2, (2, 5, 6, 3)).astype(float), 3, 1, "SAME"),
        "all negative, padded": (-1 - abs(image), 3, (1, 2), ((1, 0), (2, 1))),
        "1 axis": (rng.standard_normal((2, 9, 2)), 3, 2),
        "3 axes": (rng.standard_normal((1, 4, 4, 3, 2)), (2, 2, 1)),
        "window 1": (image, 1),
        "empty batch": (rng.standard_normal((0, 4, 4, 2)), 2),
    }
