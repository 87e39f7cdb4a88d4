r"""How much of a result is rounding: the yardstick of every tolerance.

A program in floating point computes something near the mathematics, and how near depends
on the program, its arguments and the dtype. To see it, the program is run in float64 with
noise: each element that an arithmetic operation returns is changed at random by up to
`AMPLITUDE` times the dtype's $\varepsilon$, relative to itself, and so is each argument,
and each of the n terms of a sum by $\sqrt n$ times that.
Over several draws every element of the result covers an interval. Where the program is
well conditioned the interval is a few $\varepsilon$ wide; where digits cancel it is as
wide as the digits that are lost; at a kink it holds the slopes of both sides. No fixed
tolerance does that. The idea is Monte Carlo arithmetic (Parker, 1997; Vignes, 2004).
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from funcnn.verify.functions._autodiff import RULES, jaxprs, open_jaxpr

EPS = float(np.finfo(np.float64).eps)
AMPLITUDE = 16
DRAWS = 12

# What these return is exact, or chosen from what they are given.
EXACT = frozenset(
    """
    abs and argmax argmin argsort bitcast_convert_type broadcast_in_dim ceil clamp
    concatenate copy copy_p convert_element_type dynamic_slice dynamic_update_slice
    eq expand_dims floor gather ge gt imag iota is_finite le lt max min name ne neg
    not optimization_barrier or pad real reduce_and reduce_max reduce_min reduce_or
    reduce_window_max reshape rev round scatter select_n sign slice sort split
    squeeze stop_gradient top_k transpose
    """.split()  # noqa: SIM905
)
CALLS = {"jit", "pjit", "closed_call", "core_call", "checkpoint", "remat2", *RULES}


def noisy(f):
    """`f` in noisy arithmetic: `g(noise, eps, *args)`, for float64 leaves in `args`.

    `noise` has `pool_size` numbers between -1 and 1. An exact zero among the arguments is
    moved as well, by a relative `eps` of its array's smallest other element, since a
    function may have a kink there.
    """

    def g(noise, eps, *args):
        tick = _Noise(noise, AMPLITUDE * eps)
        closed, shape = jax.make_jaxpr(f, return_shape=True)(*args)
        flat = [tick(a, argument=True) for a in jax.tree.leaves(args)]
        out = _evaluate(open_jaxpr(closed), closed.consts, flat, tick)
        return jax.tree.unflatten(jax.tree.structure(shape), out)

    return g


def pool_size(f, *args) -> int:
    """How many random numbers `noisy(f)` wants."""
    return _largest(jax.make_jaxpr(f)(*args)) + _Noise.PERIOD


def coarsest(jaxpr) -> float:
    """The epsilon of the coarsest floating dtype that the arguments pass through."""
    jaxpr = open_jaxpr(jaxpr)
    touched = {v for v in jaxpr.invars if _floating(v.aval)}
    found = [float(jnp.finfo(v.aval.dtype).eps) for v in touched]
    for eqn in jaxpr.eqns:
        if touched.intersection(v for v in eqn.invars if not _is_literal(v)):
            touched.update(eqn.outvars)
            outputs = [v.aval.dtype for v in eqn.outvars if _floating(v.aval)]
            found += [float(jnp.finfo(dtype).eps) for dtype in outputs]
            found += map(coarsest, jaxprs(eqn.params))
    return max(found, default=EPS)


class _Noise:
    PERIOD = 997

    def __init__(self, pool, amplitude):
        self.pool, self.amplitude, self.count = pool, amplitude, 0

    def __call__(self, x, argument=False, times=1.0):
        if not _floating(jax.typeof(x)) or not x.size:
            return x
        self.count += 1
        start = 37 * self.count % self.PERIOD
        noise = jax.lax.slice(self.pool, (start,), (start + x.size,)).reshape(x.shape)
        noise = (times * self.amplitude * noise).astype(x.dtype)
        if argument:
            sizes = jnp.where((x == 0) | ~jnp.isfinite(x), jnp.inf, abs(x))
            least = sizes.min()
            least = jnp.where(jnp.isfinite(least), least, 1).astype(x.dtype)
            moved = jnp.where(x == 0, least * noise, x + x * noise)
            return jnp.where(jnp.isfinite(x), moved, x)
        return jnp.where(jnp.isfinite(x), x + x * noise, x)


def _evaluate(jaxpr, consts, args, tick):
    env = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))
    for eqn in jaxpr.eqns:
        values = [v.val if _is_literal(v) else env[v] for v in eqn.invars]
        out = _step(eqn, values, tick)
        env.update(zip(eqn.outvars, out, strict=True))
    return [v.val if _is_literal(v) else env[v] for v in jaxpr.outvars]


def _step(eqn, values, tick):
    name, p = eqn.primitive.name, eqn.params

    def run(closed, *args):
        return _evaluate(open_jaxpr(closed), getattr(closed, "consts", ()), args, tick)

    if name in CALLS:
        (closed,) = (p[k] for k in ("jaxpr", "call_jaxpr") if k in p)
        return run(closed, *values)
    if name == "cond":
        branches = [lambda *a, b=b: run(b, *a) for b in p["branches"]]
        return jax.lax.switch(values[0], branches, *values[1:])
    if name == "scan":
        # what is stacked has an axis more outside; how else it is told differs in versions
        inner = open_jaxpr(p["jaxpr"])
        stacked = sum(
            v.aval.ndim > i.aval.ndim for v, i in zip(eqn.invars, inner.invars, strict=True)
        )
        carries = sum(
            v.aval.ndim == o.aval.ndim
            for v, o in zip(eqn.outvars, inner.outvars, strict=True)
        )
        carried = len(values) - stacked
        fixed = carried - carries
        consts, init, xs = values[:fixed], values[fixed:carried], values[carried:]

        def body(carry, x):
            out = run(p["jaxpr"], *consts, *carry, *x)
            return out[: len(init)], out[len(init) :]

        rest = {k: p[k] for k in ("length", "reverse")}
        carry, ys = jax.lax.scan(body, init, xs, **rest)
        return [*carry, *ys]
    if name == "while":
        a, b = p["cond_nconsts"], p["cond_nconsts"] + p["body_nconsts"]
        tests, steps = values[:a], values[a:b]
        return jax.lax.while_loop(
            lambda c: run(p["cond_jaxpr"], *tests, *c)[0],
            lambda c: run(p["body_jaxpr"], *steps, *c),
            values[b:],
        )
    if (terms := _terms(eqn)) > 1:
        values = [tick(values[0], times=terms**0.5), *values[1:]]
    with eqn.ctx.manager:
        out = eqn.primitive.bind(*values, **eqn.primitive.get_bind_params(p))
    out = out if eqn.primitive.multiple_results else [out]
    return out if name in EXACT else [tick(x) for x in out]


def _terms(eqn):
    """How many terms each number is a sum of.

    Added up one after the other, n terms gather n roundings, each of a partial sum: as much
    as if every term were off by the square root of n times as much as it is.
    """
    name, p = eqn.primitive.name, eqn.params
    shapes = [v.aval.shape for v in eqn.invars if hasattr(v.aval, "shape")]
    if name in ("reduce_sum", "cumsum"):
        axes = p["axes"] if name == "reduce_sum" else (p["axis"],)
        return math.prod(shapes[0][a] for a in axes)
    if name == "dot_general":
        return math.prod(shapes[0][a] for a in p["dimension_numbers"][0][0])
    if name == "conv_general_dilated":
        return math.prod(shapes[1]) // shapes[1][p["dimension_numbers"].rhs_spec[0]]
    if name == "reduce_window_sum":
        return math.prod(p["window_dimensions"])
    return 1


def _largest(jaxpr):
    here = [
        v.aval.size
        for eqn in open_jaxpr(jaxpr).eqns
        for v in eqn.outvars
        if hasattr(v.aval, "size")
    ]
    here += [v.aval.size for v in open_jaxpr(jaxpr).invars if hasattr(v.aval, "size")]
    inner = (_largest(i) for eqn in open_jaxpr(jaxpr).eqns for i in jaxprs(eqn.params))
    return max([*here, *inner], default=1)


def _floating(aval):
    return hasattr(aval, "dtype") and jnp.issubdtype(aval.dtype, jnp.floating)


def _is_literal(v):
    return hasattr(v, "val")
