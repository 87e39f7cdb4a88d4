"""A function and its arguments in, its results out: computed by NumPy, not compiled.

XLA takes a thousand times as long to compile a program of a few numbers as to run it. Here
the function is traced as it is for the compiler, and its operations run one by one. What
NumPy has not, JAX runs.
"""

import functools

import jax
import numpy as np

from funcnn.verify.functions._autodiff import RULES, open_jaxpr
from funcnn.verify.programs._compile import jit
from funcnn.verify.programs._numpy_operations import ELEMENTWISE, STRUCTURAL

CALLS = {"jit", "pjit", "closed_call", "core_call", "checkpoint", "remat2", *RULES}
# The dtypes in which NumPy computes as XLA does.
NATIVE = frozenset(
    map(
        np.dtype,
        (
            "f8",
            "f4",
            "c16",
            "?",
            *(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)),
        ),
    )
)
# How many operations of a program, in all its runs, take about as long as compiling it.
PATIENCE = 30_000


class TooLong(Exception):  # noqa: N818
    """A program runs so often, or its loops so long, that compiling it pays."""


def interpreted(f):
    """`f` without a compiler: of arrays alone, it returns NumPy's. It is traced once.

    Raises:
        TooLong: when called, if it takes more than what is left of `PATIENCE` operations.
    """
    traced: dict = {}
    run = Run()

    def g(*args):
        leaves = jax.tree.leaves(args)
        types = tuple((a.shape, a.dtype) for a in leaves)
        if types not in traced:
            closed, shape = jax.make_jaxpr(f, return_shape=True)(*args)
            traced[types] = closed, jax.tree.structure(shape)
        closed, tree = traced[types]
        with np.errstate(all="ignore"):
            return jax.tree.unflatten(tree, run.call(closed, *map(as_array, leaves)))

    return g


class Run:
    def __init__(self):
        self.left = PATIENCE

    def call(self, closed, *args):
        """The outputs of a jaxpr, an equation at a time."""
        jaxpr = open_jaxpr(closed)
        consts = map(as_array, getattr(closed, "consts", ()))
        env = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))
        for eqn in jaxpr.eqns:
            self.spend(1)
            out = self.step(eqn, [_read(v, env) for v in eqn.invars])
            env.update(zip(eqn.outvars, out, strict=True))
        return [_read(v, env) for v in jaxpr.outvars]

    def spend(self, count):
        if count > self.left:
            raise TooLong
        self.left -= count

    def step(self, eqn, values):
        """The results of one equation."""
        name, p = eqn.primitive.name, eqn.params
        if name in CALLS:
            (closed,) = (p[k] for k in ("jaxpr", "call_jaxpr") if k in p)
            return self.call(closed, *values)
        if name == "cond":
            last = len(p["branches"]) - 1
            return self.call(p["branches"][min(max(int(values[0]), 0), last)], *values[1:])
        if name == "while":
            return self.loop(values, p)
        if name == "scan":
            return self.scan(eqn, values, p)
        out = _by_numpy(eqn, values)
        return _by_jax(eqn, values) if out is None else out

    def loop(self, values, p):
        a, b = p["cond_nconsts"], p["cond_nconsts"] + p["body_nconsts"]
        tests, steps, carry = values[:a], values[a:b], values[b:]
        while self.call(p["cond_jaxpr"], *tests, *carry)[0]:
            carry = self.call(p["body_jaxpr"], *steps, *carry)
        return carry

    def scan(self, eqn, values, p):
        inner = open_jaxpr(p["jaxpr"])
        carries, first = scan_layout(eqn)
        fixed, carry, xs = values[: first - carries], values[:first], values[first:]
        carry = carry[len(fixed) :]
        found = []
        if p["length"] * len(inner.eqns) > self.left:  # before it has begun
            raise TooLong
        steps = range(p["length"])
        for i in reversed(steps) if p["reverse"] else steps:
            out = self.call(p["jaxpr"], *fixed, *carry, *(x[i] for x in xs))
            carry = out[:carries]
            found.append(out[carries:])
        if p["reverse"]:
            found.reverse()
        if not found:
            kinds = [v.aval for v in inner.outvars[carries:]]
            return [*carry, *(np.zeros((0, *kind.shape), kind.dtype) for kind in kinds)]
        return [*carry, *map(_stack, zip(*found, strict=True))]


def scan_layout(eqn) -> tuple[int, int]:
    """How many values a scan carries, and which operand is the first that it goes through.

    Those have an axis more outside; how else it is told differs in versions of JAX.
    """
    inner = open_jaxpr(eqn.params["jaxpr"])
    stacked = sum(
        v.aval.ndim > i.aval.ndim for v, i in zip(eqn.invars, inner.invars, strict=True)
    )
    carries = sum(
        v.aval.ndim == o.aval.ndim for v, o in zip(eqn.outvars, inner.outvars, strict=True)
    )
    return carries, len(eqn.invars) - stacked


def _by_numpy(eqn, values):
    """The results, or None if NumPy has no such operation, or not of such arrays."""
    avals = [v.aval for v in eqn.outvars]
    if any(getattr(a, "dtype", None) not in NATIVE for a in (*values, *avals)):
        return None
    name = eqn.primitive.name
    if name in ELEMENTWISE:
        out = ELEMENTWISE[name](*values)
    elif name in STRUCTURAL:
        out = STRUCTURAL[name](*values, p=eqn.params)
    else:
        return None
    if out is None:
        return None
    results = out if isinstance(out, list) else [out]
    if [np.shape(a) for a in results] != [a.shape for a in avals]:
        return None
    return [np.asarray(a, aval.dtype) for a, aval in zip(results, avals, strict=True)]


def _by_jax(eqn, values):
    primitive, params = eqn.primitive, eqn.primitive.get_bind_params(eqn.params)
    with eqn.ctx.manager:
        try:
            out = _compiled(primitive, tuple(params.items()))(*values)
        except TypeError:  # parameters that cannot be hashed
            out = primitive.bind(*values, **params)
    return [as_array(a) for a in (out if primitive.multiple_results else [out])]


@functools.lru_cache(4096)
def _compiled(primitive, params):
    return jit(functools.partial(primitive.bind, **dict(params)))


def _read(v, env):
    return np.asarray(v.val, v.aval.dtype) if hasattr(v, "val") else env[v]


def as_array(a):
    """A NumPy array, unless it is one of random keys."""
    if jax.dtypes.issubdtype(getattr(a, "dtype", None), jax.dtypes.extended):
        return a
    return np.asarray(a)


def _stack(rows):
    return np.stack(rows) if isinstance(rows[0], np.ndarray) else jax.numpy.stack(rows)
