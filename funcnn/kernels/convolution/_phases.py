r"""The input's cotangent of a strided convolution, a phase at a time.

Output $i$ reads position $p = s q + r$ of the input with tap $k$ if $s i = p + l - d k$:
only if $r + l - d k$ is a multiple of $s$, whatever $q$ is. So each phase $r$ has taps of
its own, every $s / \gcd(s, d)$-th, and is a convolution of stride 1,

$$\bar x[s q + r] =
\sum_{k:\ s\,|\,r + l - d k} \bar y[q + (r + l - d k) / s]\; w[k]^\top,$$

with dilation $d / \gcd(s, d)$. The phases are interleaved afterwards. The dilated form has
$s$ times as many taps an axis, all but one in $s$ of them multiplied by zero.
"""

import itertools
import math

import jax
import jax.numpy as jnp

from funcnn.foundation._products import empty_sum
from funcnn.kernels._windows import Windows
from funcnn.kernels.convolution._geometry import transposed, turned

MANY = 16  # phases with a convolution each, all to be compiled


def input_gradient(convolve, dy, weight, w: Windows, groups):
    """Phases by `convolve`, interleaved."""
    weight = turned(weight, groups)
    if math.prod(w.stride) > MANY:
        return convolve(*_spread(dy, weight, w), groups)
    length = [-(-n // s) for n, s in zip(w.size, w.stride, strict=True)]
    rank, channels = len(length), weight.shape[-1]
    phases = []
    for phase in itertools.product(*map(range, w.stride)):
        axes = [_axis(w, *each) for each in zip(range(rank), phase, length, strict=True)]
        if any(axis is None for axis in axes):  # no tap reads it
            phases.append(empty_sum((dy.shape[0], *length, channels), dy, weight))
            continue
        taps, padding, dilation = zip(*axes, strict=True)
        kernel = weight[tuple(taps)]
        part = Windows(
            w.out, kernel.shape[:-2], (1,) * len(taps), padding, dilation, tuple(length)
        )
        phases.append(convolve(dy, kernel, part, groups))
    found = jnp.stack(phases).reshape(*w.stride, dy.shape[0], *length, channels)
    pairs = [a for axis in range(rank) for a in (rank + 1 + axis, axis)]
    found = found.transpose(rank, *pairs, 2 * rank + 1)
    found = found.reshape(
        dy.shape[0], *(n * s for n, s in zip(length, w.stride, strict=True)), channels
    )
    return found[(slice(None), *map(slice, w.size))]


def _spread(dy, weight, w):
    """The cotangent with zeros between its elements, for very many phases as one."""
    steps = [(0, 0, 0), *((0, 0, s - 1) for s in w.stride), (0, 0, 0)]
    dy = jax.lax.pad(dy, jnp.zeros((), dy.dtype), steps)
    ones = (1,) * len(w.stride)
    return dy, weight, transposed(w._replace(out=dy.shape[1:-1], stride=ones))


def _axis(w, axis, phase, length):
    """The slice of the turned kernel that a phase uses, its padding and its dilation."""
    k, s, d, m, (low, _) = (
        w.kernel[axis], w.stride[axis], w.dilation[axis], w.out[axis], w.padding[axis]
    )  # fmt: skip
    taps = [i for i in range(k) if (phase + low - d * i) % s == 0]
    if not taps:
        return None
    step = taps[1] - taps[0] if len(taps) > 1 else 1
    first, last = ((phase + low - d * i) // s for i in (taps[-1], taps[0]))
    start = k - 1 - taps[-1]
    used = slice(start, start + step * (len(taps) - 1) + 1, step)
    return used, (-first, length - 1 + last - (m - 1)), max(d * step // s, 1)
