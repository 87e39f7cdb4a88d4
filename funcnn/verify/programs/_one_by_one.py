"""A function and numbers in, its results out: an operation at a time, not traced.

JAX compiles a program for each operation that it runs by itself, and for each shape; that
takes much longer than to run it. Here NumPy runs them, as Python comes to them: to the
function its arguments are arrays of JAX with numbers in them, as they are without `jit`.
"""

import contextlib
from types import SimpleNamespace

import jax
import numpy as np
from jax.extend.core import set_current_trace

from funcnn.verify.programs._interpret import Run, as_array


def one_by_one(f):
    """What `f` of no arguments returns, its operations run by NumPy where it has them.

    Raises:
        Exception: of any kind, if it cannot be so.
    """
    with np.errstate(all="ignore"), set_current_trace(_Numbers()):
        return f()


class _Numbers(jax.core.Trace):
    """Runs each operation at once."""

    def __init__(self):
        super().__init__()
        self.run = Run()

    def process_primitive(self, primitive, args, params, /):
        with jax.core.eval_context():
            avals = [jax.typeof(a) for a in args]
            if "jaxpr" in params and primitive.name in ("jit", "pjit"):
                found = params["jaxpr"].out_avals
            else:
                found, _ = primitive.abstract_eval(*avals, **params)
                found = found if primitive.multiple_results else [found]
            values = [
                as_array(np.asarray(a, t.dtype) if np.isscalar(a) else a)
                for a, t in zip(args, avals, strict=True)
            ]
            eqn = SimpleNamespace(
                primitive=primitive,
                params=params,
                invars=[SimpleNamespace(aval=a) for a in avals],
                outvars=[SimpleNamespace(aval=a) for a in found],
                ctx=SimpleNamespace(manager=contextlib.nullcontext()),
            )
            out = map(_given, self.run.step(eqn, values), found)
            return list(out) if primitive.multiple_results else next(out)

    def stage_value(self, val):
        with jax.core.eval_context():
            return jax.numpy.asarray(val)

    def process_custom_jvp_call(self, primitive, fun, jvp, tracers, /, **_):
        return fun.call_wrapped(*tracers)

    def process_custom_vjp_call(self, primitive, fun, fwd, bwd, tracers, /, **_):
        return fun.call_wrapped(*tracers)


def _given(value, aval):
    """An array of JAX; a number that has no dtype of its own stays so."""
    if getattr(aval, "weak_type", False) and not aval.shape:
        return jax.numpy.asarray(value.item())
    return jax.device_put(value)
