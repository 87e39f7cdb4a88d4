"""What a pullback holds between the forward and the backward pass, told without a run."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.extend.core import Jaxpr, Literal

from funcnn.verify.functions._autodiff import is_array, jaxprs, open_jaxpr
from funcnn.verify.functions._split import parameter_names, problem

CALLS = ("jit", "pjit", "closed_call")
VIEWS = ("reshape", "squeeze", "expand_dims", "broadcast_in_dim", "copy", "copy_p", "name")


class Held(NamedTuple):
    """An array that is held: an argument, the output, computed, or a constant.

    `read` tells whether the backward pass looks at it at all.
    """

    kind: str
    name: str
    shape: tuple[int, ...]
    dtype: jax.typing.DTypeLike
    nbytes: int
    read: bool

    def __str__(self) -> str:
        """The kind, the name, and whether it is held in vain."""
        what = f"{self.kind} {self.name}".rstrip()
        return what if self.read else f"{what}, never read"


class Residuals(NamedTuple):
    """The arrays that a pullback holds, in bytes by their kind. `str` is a table.

    Arguments that the backward pass never reads (kept for their dtype, say) and constants
    cost nothing and are in no sum; computed arrays are counted in any case.
    """

    arrays: tuple[Held, ...]

    @property
    def arguments(self) -> int:
        """Bytes of arguments, which the caller mostly keeps alive anyway."""
        return sum(a.nbytes for a in self.arrays if a.kind == "argument" and a.read)

    @property
    def outputs(self) -> int:
        """Bytes of outputs, which what comes next mostly keeps alive anyway."""
        return sum(a.nbytes for a in self.arrays if a.kind == "output")

    @property
    def computed(self) -> int:
        """Bytes of arrays made for the backward pass alone."""
        return sum(a.nbytes for a in self.arrays if a.kind == "computed")

    @property
    def total(self) -> int:
        """All of them."""
        return self.arguments + self.outputs + self.computed

    def __str__(self) -> str:
        """A line an array, and the sums."""
        types = [f"{a.dtype}{list(a.shape)}".replace(" ", "") for a in self.arrays]
        wide = max(map(len, [*types, "total"]))
        lines = [
            f"{kind:{wide}} {a.nbytes:12,} B  {a}"
            for kind, a in zip(types, self.arrays, strict=True)
        ]
        sums = (
            f"arguments {self.arguments:,} B, outputs {self.outputs:,} B, "
            f"computed {self.computed:,} B"
        )
        return "\n".join([*lines, f"{'total':{wide}} {self.total:12,} B  {sums}"])


def residuals(f: Callable, *args) -> Residuals:
    """What `jax.vjp(f, *args)` holds until the backward pass.

    Nothing is run: `f` is traced, jitted parts and `jax.checkpoint` as they are. An array
    counts once however often and in whatever shape it is held, and if two equations
    compute the same it counts once too, as the compiler would have it.

    Args:
        f: a traceable function.
        *args: its arguments. Floating-point arrays in them, also inside pytrees, are
            differentiated; a `jax.ShapeDtypeStruct` will do for an array.
    """
    arrays, fill = traceable(args)
    parameters = parameter_names(f, len(args))
    names = [
        parameters[path[0].idx] + jax.tree_util.keystr(path[1:])
        for path, leaf in jax.tree_util.tree_leaves_with_path(args)
        if _varies(leaf)
    ]

    def forward(*arrays):
        p = problem(f, fill(arrays))
        return jax.vjp(p.f, *p.leaves)

    trace = jax.make_jaxpr(forward, return_shape=True)
    jaxpr, (dys, pullback) = trace(*arrays)
    invars = zip(jaxpr.jaxpr.invars, names, strict=True)
    arguments = {_Value(v.aval): name for v, name in invars}
    values = _evaluate(jaxpr.jaxpr, list(arguments), {})
    outputs, kept = values[: len(dys)], values[len(dys) :]
    backward = jax.make_jaxpr(lambda pullback, dys: pullback(dys))(pullback, dys)
    read: dict[_Value, bool] = {}
    for value, used in zip(kept, _used(backward.jaxpr), strict=False):
        read[value] = read.get(value, False) or used

    def held(value):
        if value in arguments:
            kind = "argument"
        elif value.constant:
            kind = "constant"
        else:
            kind = "output" if value in outputs else "computed"
        aval = value.aval
        nbytes = math.prod(aval.shape) * aval.dtype.itemsize
        name = arguments.get(value, "")
        return Held(kind, name, aval.shape, aval.dtype, nbytes, read[value])

    return Residuals(tuple(map(held, read)))


def traceable(args):
    """The arrays in `args`, and a function that puts others in their place."""
    leaves, tree = jax.tree.flatten(args)
    slots = [i for i, leaf in enumerate(leaves) if _varies(leaf)]

    def fill(arrays):
        full = list(leaves)
        for i, a in zip(slots, arrays, strict=True):
            full[i] = a
        return jax.tree.unflatten(tree, full)

    return [leaves[i] for i in slots], fill


def _varies(leaf):
    return is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)


class _Value:
    """An array in memory; equal to itself alone."""

    def __init__(self, aval: Any, constant: bool = False):
        self.aval = aval
        self.constant = constant


def _evaluate(jaxpr: Jaxpr, arguments: list, seen: dict) -> list:
    """The arrays that `jaxpr` returns. Equal equations, in `seen`, make equal arrays."""
    env = dict(zip(jaxpr.invars, arguments, strict=True))
    env |= {v: _Value(v.aval, constant=True) for v in jaxpr.constvars}

    def read(atom):
        if not isinstance(atom, Literal):
            return env[atom]
        key = (str(atom.val), str(atom.aval))
        return seen.setdefault(key, _Value(atom.aval, constant=True))

    for eqn in jaxpr.eqns:
        values = [read(v) for v in eqn.invars]
        avals: list[Any] = [v.aval for v in eqn.outvars]
        name = eqn.primitive.name
        if name in CALLS:
            closed = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
            made = _evaluate(open_jaxpr(closed), values, seen)
        elif name in VIEWS and math.prod(avals[0].shape) == math.prod(values[0].aval.shape):
            made = values[:1]
        else:
            constant = all(value.constant for value in values)
            made = [_Value(aval, constant) for aval in avals]
            if not jaxprs(eqn.params):
                made = seen.setdefault((name, str(eqn.params), *values), made)
        env |= zip(eqn.outvars, made, strict=True)
    return [read(v) for v in jaxpr.outvars]


def _used(jaxpr: Jaxpr, wanted=None) -> list[bool]:
    """Which inputs the outputs of `jaxpr` depend on, or those `wanted` of them."""
    wanted = wanted or [True] * len(jaxpr.outvars)
    live = {
        v
        for v, w in zip(jaxpr.outvars, wanted, strict=True)
        if w and not isinstance(v, Literal)
    }
    for eqn in reversed(jaxpr.eqns):
        outputs = [v in live for v in eqn.outvars]
        if not any(outputs):
            continue
        used = [True] * len(eqn.invars)
        if eqn.primitive.name in CALLS:
            closed = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
            used = _used(open_jaxpr(closed), outputs)
        live |= {
            v
            for v, u in zip(eqn.invars, used, strict=True)
            if u and not isinstance(v, Literal)
        }
    return [v in live for v in jaxpr.invars]
