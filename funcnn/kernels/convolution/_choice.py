"""Which formulation a convolution has on a CPU, from its static shapes.

The figures beside the rules are how many times faster the chosen one was than the
platform's own, on two cores with JAX 0.10 and 0.12; `python -m benchmarks` measures them.
"""

import math

from funcnn.foundation._compiler import known
from funcnn.kernels._windows import Windows
from funcnn.kernels.convolution._platform import BLOCK
from funcnn.kernels.convolution._strips import cut

PATCHES = 2**23  # bytes that an image's windows, or all their cotangents, may take
FEW = 64  # taps, or channels of an output
MOST = 8  # groups with a convolution each, all to be compiled
SMALL = 2**12  # positions of an image; the platform's loops over few channels are short
MANY = 2**15  # positions of all images, for it to matter


def convolve(x, weight, w: Windows, groups) -> str:
    """The formulation of the sum over taps, for arrays of these shapes."""
    taps, (inputs, outputs) = math.prod(w.kernel), weight[-2:]
    if _depthwise(weight, groups):
        return "shifts"  # 14 to 50 times
    if groups > 1:
        return "groups" if groups <= MOST else "platform"  # 1.1 to 3 times
    if taps == 1 and math.prod(w.stride) == 1:
        return "product"  # 1.1 to 2.3 times
    solid = len(w.size) == 3
    slow = solid or (math.prod(w.out) <= SMALL and _positions(x[0], w) >= MANY)
    slow = slow and not _strided_line(w)
    if slow and inputs <= 3 and outputs <= FEW and _in_strips(x[0], inputs, outputs, w):
        return "strips"  # 1.2 to 5 times
    if solid and 4 * taps * inputs * math.prod(w.out) <= PATCHES:
        return "patches"  # 2.3 times; half, if an image's patches are twice as many
    if not solid and _positions(x[0], w) <= outputs:
        return "windows"  # 1.1 to 1.9 times
    return "platform"


def input_gradient(dy, weight, w: Windows, groups) -> str:
    """The formulation of the transpose in the input, for arrays of these shapes."""
    taps, (inputs, outputs) = math.prod(w.kernel), weight[-2:]
    strided = math.prod(w.stride) > 1
    large = groups == 1 and taps > 9 and not _strided_line(w)
    if large and inputs <= 8 and _in_strips(dy[0], inputs, outputs, w):
        return "strips"  # 1.5 to 10 times
    if groups == 1 and w.stride == w.kernel and 1 < taps <= FEW:
        return "strips"  # 1.0 to 2.8 times
    if not strided and groups == 1 and inputs <= 4 and taps > 1:
        return "columns"  # 1.3 to 4.5 times
    if groups == 1 and len(w.size) < 3 and 1 < taps <= 9:
        positions = _positions(dy[0], w)
        # where it takes long to turn the kernel around, 1.1 to 2.5 times
        if positions <= 2 * outputs:
            return "columns"
        if strided and 4 * positions * taps * inputs <= PATCHES:
            return "columns"  # 1.1 to 1.6 times
    if not strided:
        return "turned"
    one_tap = groups == 1 and taps == 1
    if _depthwise(weight, groups) or len(w.size) == 3 or one_tap:
        return "phases"
    return "platform"


def filter_gradient(x, dy, w: Windows, groups) -> str:
    """The formulation of the transpose in the kernel, for arrays of these shapes."""
    taps, inputs, outputs = math.prod(w.kernel), x[-1], dy[-1]
    if groups > 1 and inputs == groups:
        return "shifts by row"  # 10 to 50 times
    if groups > 1:
        return "patches"
    if taps == 1:
        return "product"  # 2.2 to 12 times
    if w.stride == w.kernel:  # one window beside the other
        return "strips"  # 1.3 to 3.6 times
    solid = len(w.size) == 3
    slow = math.prod(w.stride) == 1 and (solid or math.prod(w.out) <= SMALL)
    if slow and inputs <= 3 and _in_strips(x[0], inputs, outputs, w):
        return "strips"  # 1.2 to 3.4 times
    if solid:
        return "patches"  # 1.4 to 6 times
    if _positions(x[0], w) <= 2 * outputs:
        return "windows"  # 1.0 to 2 times
    return "blocks" if known(x[:1]) and x[0] > BLOCK else "platform"  # 1.15 to 5 times


def _positions(images, w):
    """Of all outputs; more than any number, where nobody knows yet."""
    return images * math.prod(w.out) if known((images, *w.out)) else math.inf


def _in_strips(images, inputs, outputs, w):
    """Whether all strips are few enough to be made at once."""
    count, blocks = cut(w, outputs)
    one = math.prod(blocks.kernel) * w.stride[-1] * count * inputs
    return 4 * _positions(images, blocks) * one <= PATCHES


def _strided_line(w):
    """Whether strips read a line of which most is skipped; 0.8 times the platform's."""
    return len(w.size) == 1 and w.stride[0] > 1 and w.stride != w.kernel


def _depthwise(weight, groups):
    """Whether each group has one input or one output."""
    return groups > 1 and (weight[-2] == 1 or weight[-1] == groups)
