"""Which program a platform gets, and what XLA:CPU computes once or anew."""

import functools
import math

import jax
from jax.experimental.xla_metadata import set_xla_metadata

LARGE = 2**14  # numbers that are worth a call, some microseconds
HUGE = 2**20  # numbers that several arrays of are more than caches hold


def on_cpu(here, elsewhere, *arrays):
    """`here(*arrays)` on a CPU, and on other platforms `elsewhere(*arrays)`.

    Both compute the same, in an order that suits the platform which the program is
    compiled for, be it this machine's or not.
    """
    return jax.lax.platform_dependent(*arrays, cpu=here, default=elsewhere)


def once(f, shape, *arrays):
    """`f(*arrays)`, computed once on a CPU, however many loops read what it gives.

    XLA:CPU computes cheap things anew in each loop that reads them, and for every element,
    and a barrier does not last until then. What does is a function of its own in the
    compiled program, which XLA is told not to inline.

    Args:
        f: a function of arrays, giving one or several.
        shape: of what reads it; if that is small, `f` is called as it is.
        arrays: its arguments.
    """
    if not _large(shape):
        return f(*arrays)

    def apart(*arrays):
        with set_xla_metadata(inlineable=None):  # it is for the call, not for what is in it
            return f(*arrays)

    with set_xla_metadata(inlineable="false"):
        return jax.jit(apart)(*arrays)


@functools.partial(jax.jit, static_argnums=(0, 1), inline=True)
def apart(f, shape, *arrays):
    """`once` on a CPU, and on other platforms `f(*arrays)`."""
    if not _large(shape):
        return f(*arrays)
    return on_cpu(functools.partial(once, f, shape), f, *arrays)


def anew(x):
    """`x`, of which a CPU computes anew what else is computed of `x`, if it is huge.

    What is costly to compute, and read by two loops, XLA:CPU writes out between them. Only
    while caches hold it is that faster.
    """
    if not known(x.shape) or x.size < HUGE:
        return x
    return on_cpu(jax.lax.optimization_barrier, lambda x: x, x)


def known(shape):
    """Whether all sizes are numbers: a program may be exported for any."""
    return all(isinstance(n, int) for n in shape)


def _large(shape):
    return not known(shape) or math.prod(shape) >= LARGE
