r"""A value times its silu gate (Shazeer, 2020, arXiv:2002.05202).

**Forward.** $y = \operatorname{silu}(g)\,v = g\,\sigma(g)\,v$ for a gate $g$ and a value
$v$, elementwise. A feed-forward layer makes both of its input, by a matrix each.

**Backward.** By the product rule, with silu's derivative, a diagonal map in each argument:

$$\dot y = \operatorname{silu}'(g)\,v\,\dot g + \operatorname{silu}(g)\,\dot v, \qquad
\operatorname{silu}'(g) = \sigma\,(1 + g\,(1 - \sigma)),$$

$$\bar g = \operatorname{silu}'(g)\,v\,\bar y, \qquad
\bar v = \operatorname{silu}(g)\,\bar y.$$

**Residuals.** $g$ and $v$: both are inputs, so nothing new is stored. $\sigma$ is computed
again, and serves both cotangents.

**Limits.** Silu and its derivative are at $\pm\infty$ what they tend to. So $g = -\infty$
shuts the gate: for a finite $v$, $y$ and both cotangents are 0. At $g = +\infty$,
$\bar g = v\,\bar y$ is finite, and $y$ and $\bar v$ are infinite as the product says. What
is left is $0 \cdot \infty$, NaN as in any product: an infinite $v$ behind a shut gate, or
$v = 0$ behind an infinite one.

**Speed.** XLA:CPU has a loop for each cotangent, and writes $\sigma$ out for both to read.
Large arrays take less time with $\sigma$ computed in either.
"""

import jax
import jax.numpy as jnp

from funcnn.foundation._checks import float_arrays
from funcnn.foundation._compiler import anew
from funcnn.foundation._cotangents import cast_like
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._dtypes import accumulator, promote
from funcnn.foundation._shapes import same_shape
from funcnn.kernels._logistic import low
from funcnn.ops._silu import activation, silu_reference, slope


@custom_vjp
def swiglu(gate: jax.Array, value: jax.Array) -> jax.Array:
    """Return `silu(gate) * value`, elementwise.

    Args:
        gate: any shape.
        value: the same shape.

    Returns:
        The shape of both, of the dtype that they promote to.

    Raises:
        TypeError: if an argument is not a floating-point array.
        ValueError: if the shapes differ.
    """
    return swiglu_fwd(gate, value)[0]


def swiglu_fwd(gate, value):
    gate, value = float_arrays("swiglu", gate=gate, value=value)
    same_shape("swiglu", gate=gate, value=value)
    dtype = promote(gate, value)
    g, v = (a.astype(accumulator(dtype)) for a in (gate, value))
    return (activation(g) * v).astype(dtype), (gate, value)


def swiglu_bwd(residuals, dy):
    gate, value = residuals
    arrays = gate, anew(gate), value, dy
    g, again, v, dy = (a.astype(accumulator(dy.dtype)) for a in arrays)
    last = low(gate.dtype)
    dgate, dvalue = slope(g, last) * v * dy, activation(again, last) * dy
    return cast_like((dgate, dvalue), residuals)


swiglu.defvjp(swiglu_fwd, swiglu_bwd)


def swiglu_reference(gate, value):
    """The definition, left to `jax.grad`."""
    return silu_reference(gate) * value


def swiglu_cases(rng):
    """Arguments on which every claim is tested."""
    normal = rng.standard_normal
    return {
        "matrix": (normal((3, 4)), normal((3, 4))),
        "large": (20 * normal((3, 4)), 1e3 * normal((3, 4))),
        "at 0": (jnp.zeros((3, 4)), normal((3, 4))),
        "nothing to pass": (normal((3, 4)), jnp.zeros((3, 4))),
        "scalar": (normal(()), normal(())),
        "empty": (normal((0, 4)), normal((0, 4))),
        "16 bits": tuple(jnp.asarray(4 * normal((3, 4)), jnp.bfloat16) for _ in "gv"),
    }
