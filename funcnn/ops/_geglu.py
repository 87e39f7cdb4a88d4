r"""A value times its gelu gate (Shazeer, 2020, arXiv:2002.05202).

**Forward.** $y = \operatorname{gelu}(g)\,v = g\,\Phi(g)\,v$ for a gate $g$ and a value $v$,
elementwise, with the $\Phi$ of `gelu`, exact or approximate.

**Backward.** By the product rule, with gelu's derivative, a diagonal map in each argument:

$$\dot y = \operatorname{gelu}'(g)\,v\,\dot g + \operatorname{gelu}(g)\,\dot v, \qquad
\operatorname{gelu}'(g) = \Phi + g\,\Phi',$$

$$\bar g = \operatorname{gelu}'(g)\,v\,\bar y, \qquad
\bar v = \operatorname{gelu}(g)\,\bar y.$$

**Residuals.** $g$ and $v$: both are inputs, so nothing new is stored. $\Phi$ is computed
again, and serves both cotangents.

**Limits.** Gelu and its derivative are at $\pm\infty$ what they tend to. So $g = -\infty$
shuts the gate: for a finite $v$, $y$ and both cotangents are 0. At $g = +\infty$,
$\bar g = v\,\bar y$ is finite, and $y$ and $\bar v$ are infinite as the product says. What
is left is $0 \cdot \infty$, NaN as in any product: an infinite $v$ behind a shut gate, or
$v = 0$ behind an infinite one.

**Speed.** XLA:CPU has a loop for each cotangent, and writes $\Phi$ out for both to read.
Large arrays take less time with $\Phi$ computed in either.
"""

from functools import partial

import jax
import jax.numpy as jnp

from funcnn.foundation._checks import boolean, float_arrays
from funcnn.foundation._compiler import anew
from funcnn.foundation._cotangents import cast_like
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._dtypes import accumulator, promote
from funcnn.foundation._shapes import same_shape
from funcnn.kernels._logistic import low
from funcnn.ops._gelu import activation, gelu_reference, slope


@partial(custom_vjp, nondiff_argnums=(2,))
def geglu(gate: jax.Array, value: jax.Array, approximate: bool = True) -> jax.Array:
    """Return `gelu(gate, approximate) * value`, elementwise.

    Args:
        gate: any shape.
        value: the same shape.
        approximate: whether to use gelu's tanh approximation (the default) rather than
            the error function.

    Returns:
        The shape of both, of the dtype that they promote to.

    Raises:
        TypeError: if an array is not floating-point or `approximate` not a bool.
        ValueError: if the shapes differ.
    """
    return geglu_fwd(gate, value, approximate)[0]


def geglu_fwd(gate, value, approximate):
    gate, value = float_arrays("geglu", gate=gate, value=value)
    same_shape("geglu", gate=gate, value=value)
    boolean("geglu", "approximate", approximate)
    dtype = promote(gate, value)
    g, v = (a.astype(accumulator(dtype)) for a in (gate, value))
    return (activation(g, approximate) * v).astype(dtype), (gate, value)


def geglu_bwd(approximate, residuals, dy):
    gate, value = residuals
    arrays = gate, anew(gate), value, dy
    g, again, v, dy = (a.astype(accumulator(dy.dtype)) for a in arrays)
    dgate, dvalue = (
        slope(g, approximate, low(gate.dtype)) * v * dy,
        activation(again, approximate, low(gate.dtype)) * dy,
    )
    return cast_like((dgate, dvalue), residuals)


geglu.defvjp(geglu_fwd, geglu_bwd)


def geglu_reference(gate, value, approximate=True):
    """The definition, left to `jax.grad`."""
    return gelu_reference(gate, approximate) * value


def geglu_cases(rng):
    """Arguments on which every claim is tested."""
    normal = rng.standard_normal
    return {
        "tanh": (normal((3, 4)), normal((3, 4))),
        "exact": (normal((3, 4)), normal((3, 4)), False),
        "tanh, large": (10 * normal((3, 4)), 1e3 * normal((3, 4))),
        "exact, large": (10 * normal((3, 4)), 1e3 * normal((3, 4)), False),
        "at 0": (jnp.zeros((3, 4)), normal((3, 4))),
        "nothing to pass": (normal((3, 4)), jnp.zeros((3, 4)), False),
        "empty": (normal((0, 4)), normal((0, 4))),
        "16 bits": tuple(jnp.asarray(4 * normal((3, 4)), jnp.bfloat16) for _ in "gv"),
    }
