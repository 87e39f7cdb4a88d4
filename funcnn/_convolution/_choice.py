"""Which formulation a convolution has on a CPU, from its static shapes.

The figures beside the rules are how many times faster the chosen one was than the
platform's own, on two cores with JAX 0.10 and 0.12; `python -m benchmarks` measures them.
"""

import math

from funcnn._convolution._platform import BLOCK
from funcnn._numerics import known
from funcnn._windows import Windows

PATCHES = 2**23  # bytes that an image's windows, or all their cotangents, may take
FEW = 64  # taps
MOST = 8  # groups with a convolution each, all to be compiled


def convolve(x, weight, w: Windows, groups) -> str:
    """The formulation of the sum over taps, for arrays of these shapes."""
    taps = math.prod(w.kernel)
    if _depthwise(weight, groups):
        return "shifts"  # 14 to 50 times
    if groups > 1:
        return "groups" if groups <= MOST else "platform"  # 1.1 to 3 times
    if taps == 1 and math.prod(w.stride) == 1:
        return "product"  # 1.1 to 2.3 times
    if len(w.size) == 3 and 4 * taps * weight[-2] * math.prod(w.out) <= PATCHES:
        return "patches"  # 2.3 times; half, if an image's patches are twice as many
    return "platform"


def input_gradient(dy, weight, w: Windows, groups) -> str:
    """The formulation of the transpose in the input, for arrays of these shapes."""
    taps, (inputs, outputs) = math.prod(w.kernel), weight[-2:]
    strided = math.prod(w.stride) > 1
    if not strided and groups == 1 and inputs <= 4 and taps > 1:
        return "columns"  # 1.3 to 4.5 times
    if known(dy) and groups == 1 and len(w.size) < 3 and 1 < taps <= 9:
        positions = math.prod(dy[:-1])
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
    taps = math.prod(w.kernel)
    if groups > 1 and x[-1] == groups:
        return "shifts by row"  # 10 to 50 times
    if groups > 1:
        return "patches"
    if taps == 1:
        return "product"  # 2.2 to 12 times
    if len(w.size) == 3:
        return "patches"  # 1.4 to 6 times
    if w.stride == w.kernel and taps <= FEW:
        return "patches"  # 2 times; 0.9 for the 256 taps of a ViT
    many = known(x[:1]) and x[0] > BLOCK
    return "blocks" if many else "platform"  # 1.15 to 5 times


def _depthwise(weight, groups):
    """Whether each group has one input or one output."""
    return groups > 1 and (weight[-2] == 1 or weight[-1] == groups)
