r"""The three linear maps of a convolution, which `conv` and `conv_transpose` share.

With the geometry `w` of its windows, the convolution is a sum over taps $k$,

$$y[n, i, o] = \sum_{k, c} x[n,\ s i + d k - l,\ c]\; w[k, c, o].$$

It is linear in the input and in the kernel, and its transposes in one and the other are
`input_gradient` and `filter_gradient`. The transposed convolution is the first of these.

Each map has several formulations, short functions that compute the same numbers in another
order: `_platform` (the compiler's own convolution), `_products`, `_strips`, `_shifts` and
`_phases`.
On a CPU `_choice` picks one from the static shapes; GPUs and TPUs have the platform's own.
"""

import functools

import jax

from funcnn.foundation._compiler import on_cpu
from funcnn.kernels._windows import Windows
from funcnn.kernels.convolution import (
    _choice,
    _phases,
    _platform,
    _products,
    _shifts,
    _strips,
)
from funcnn.kernels.convolution._geometry import transposed, turned

CONVOLVE = {
    "platform": _platform.convolve,
    "groups": _platform.convolve_groups,
    "product": _products.convolve,
    "windows": _products.convolve_windows,
    "patches": _products.convolve_patches,
    "strips": _strips.convolve,
    "shifts": _shifts.convolve,
}
INPUT_GRADIENT = {
    "phases": lambda *a: _phases.input_gradient(convolve, *a),
    "platform": _platform.input_gradient,
    "columns": _products.input_gradient_columns,
    "strips": _strips.input_gradient,
}
FILTER_GRADIENT = {
    "platform": _platform.filter_gradient,
    "blocks": _platform.filter_gradient_blocks,
    "product": _products.filter_gradient,
    "patches": _products.filter_gradient_patches,
    "windows": _products.filter_gradient_windows,
    "strips": _strips.filter_gradient,
    "shifts by row": _shifts.filter_gradient_by_row,
}


def convolve(x, weight, w: Windows, groups=1):
    """The sum over taps: `(N, *size, C)` to `(N, *out, O)`, in at least float32."""
    chosen = CONVOLVE[_choice.convolve(x.shape, weight.shape, w, groups)]
    return _on_cpu(chosen, _platform.convolve, w, groups, x, weight)


def input_gradient(dy, weight, w: Windows, groups=1):
    """The transpose in the input: `(N, *out, O)` to `(N, *size, C)`.

    With stride 1 it is a convolution of `dy` by the kernel turned around; with another,
    one such convolution a phase of the stride.
    """
    name = _choice.input_gradient(dy.shape, weight.shape, w, groups)
    if name == "turned":
        return convolve(dy, turned(weight, groups), transposed(w), groups)
    return _on_cpu(INPUT_GRADIENT[name], _platform.input_gradient, w, groups, dy, weight)


def filter_gradient(x, dy, w: Windows, groups=1):
    """The transpose in the kernel: of shape `(*kernel, C // groups, O)`."""
    chosen = FILTER_GRADIENT[_choice.filter_gradient(x.shape, dy.shape, w, groups)]
    return _on_cpu(chosen, _platform.filter_gradient, w, groups, x, dy)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3), inline=True)
def _on_cpu(chosen, platform, w, groups, *arrays):
    """Run the formulation that is `chosen` on a CPU, the platform's own elsewhere.

    Both are traced once for all convolutions of the same shapes.
    """
    if chosen is platform:
        return platform(*arrays, w, groups)

    def fixed(f):
        return lambda *arrays: f(*arrays, w, groups)

    return on_cpu(fixed(chosen), fixed(platform), *arrays)
