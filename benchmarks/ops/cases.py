"""A shape made ready to run: the op, its rival, and random arguments."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.ops import plain
from benchmarks.ops.shapes import Shape
from funcnn import ops

AFFINE = ("conv", "conv_transpose", "dense")
CENTRED = ("layer_norm", "batch_norm", "group_norm")
NORMS = (*CENTRED, "rms_norm")
FIRST = {"softmax_cross_entropy": "logits", "cross_entropy": "probs", "col2im": "cols"}
INTEGERS = ("labels", "ids")  # arguments that have no gradient
ALIKE = {  # of two arrays of one shape
    "mse": ("prediction", "target"),
    **dict.fromkeys(("swiglu", "geglu"), ("gate", "value")),
}
PAIRS = {
    **ALIKE,
    "embed": ("table", "ids"),
    "attention": ("q", "k"),
    "linear_softmax_cross_entropy": ("x", "weight"),
    **dict.fromkeys(("dot", "matmul", "tensordot"), ("a", "b")),
}
KINDS = ("forward", "vjp", "filter", "input")
BOUND = 1e-3  # of the largest element: sums of a million float32 come to some 1e-5


class DisagreementError(Exception):
    """Two programs that are to be compared give different numbers."""


class Case(NamedTuple):
    """An op and the plain formulation, with what both are run on.

    Attributes:
        mine: the op with its options.
        plain: what it is compared with.
        names: what the arguments are called.
        args: the arguments of both, arrays or `jax.ShapeDtypeStruct`s.
        dy: the output's cotangent, likewise; a tuple of them for several outputs.
    """

    mine: Callable
    plain: Callable
    names: tuple[str, ...]
    args: tuple
    dy: Any


def kinds(shape: Shape) -> tuple[str, ...]:
    """What is timed of an op: for convolutions, either gradient alone too."""
    return KINDS if shape.op in ("conv", "conv_transpose") else KINDS[:2]


def describe(shape: Shape) -> Case:
    """The case without numbers.

    Raises:
        ValueError: if there is no such op or formulation, or the shapes do not fit.
    """
    if not hasattr(ops, shape.op) or not hasattr(plain, shape.op):
        raise ValueError(f"there is nothing to compare with an op {shape.op!r}")
    names, args = zip(*arguments(shape).items(), strict=True)
    mine = partial(getattr(ops, shape.op), **shape.options)
    try:
        dy = jax.eval_shape(mine, *args)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{shape.name}: {error}") from error
    rival = partial(getattr(plain, shape.op), **shape.options)
    return Case(mine, rival, names, args, dy)


def arguments(shape: Shape) -> dict[str, jax.ShapeDtypeStruct]:
    """All arrays that the op takes, those included whose shape follows from others'.

    Raises:
        ValueError: if there are too few or too many.
    """
    if shape.op in AFFINE:
        names: tuple[str, ...] = ("x", "weight")
    else:
        names = PAIRS.get(shape.op, (FIRST.get(shape.op, "x"),))
    arrays = shape.arrays
    if shape.op in ALIKE:
        arrays *= 2
    if len(arrays) != len(names):
        raise ValueError(
            f"{shape.op} needs the shape of {' and '.join(names)}; got {len(arrays)}"
        )
    found = dict(zip(names, arrays, strict=True))
    first, last = arrays[0], arrays[-1][-1:]
    if shape.op == "attention":
        found["v"] = arrays[1]
    if shape.op in AFFINE:
        found["bias"] = last
    if shape.op in NORMS:
        found["scale"] = last
    if shape.op in CENTRED:
        found["offset"] = last
    if shape.op.endswith("cross_entropy"):
        found["labels"] = first[:-1]
    return {
        name: jax.ShapeDtypeStruct(a, jnp.int32 if name in INTEGERS else jnp.float32)
        for name, a in found.items()
    }


def draw(shape: Shape) -> Case:
    """The case with random numbers; none of the parameters is at its initial value.

    Raises:
        ValueError: as `describe`.
    """
    case = describe(shape)
    rng = np.random.default_rng(0)

    def normal(like):
        return rng.standard_normal(like.shape, dtype=np.float32)

    def array(name, like):
        if name in INTEGERS:
            classes = shape.arrays[-1][-1] if name == "labels" else shape.arrays[0][0]
            return rng.integers(0, classes, like.shape, dtype=np.int32)
        if name == "weight":
            return normal(like) / np.float32(math.sqrt(math.prod(like.shape[:-1])))
        if name == "scale":
            return 1 + normal(like) / 2
        if name == "probs":
            weights = np.exp(normal(like))
            return weights / weights.sum(-1, keepdims=True)
        return normal(like)

    args = tuple(map(array, case.names, case.args))
    dy = jax.tree.map(normal, case.dy)
    return case._replace(args=jax.device_put(args), dy=jax.device_put(dy))


def program(f: Callable, case: Case, kind: str) -> Callable:
    """`g(args, dy)` which does the work that is timed, to be jitted.

    "forward" is the value; "vjp" the cotangents of all floating-point arguments, "filter"
    that of the weight alone, "input" that of x alone. What of the forward pass a pullback
    does not need, the compiler leaves out.
    """
    if kind == "forward":
        return lambda args, dy: f(*args)
    chosen = {"filter": ("weight",), "input": ("x",)}.get(
        kind, tuple(name for name in case.names if name not in INTEGERS)
    )

    def pull(args, dy):
        given = dict(zip(case.names, args, strict=True))

        def of(*wanted):
            changed = given | dict(zip(chosen, wanted, strict=True))
            return f(*(changed[name] for name in case.names))

        cotangents = jax.vjp(of, *(given[name] for name in chosen))[1](dy)
        return dict(zip(chosen, cotangents, strict=True))

    return pull


def agree(mine, rival, bound: float = BOUND) -> None:
    """Check that two pytrees hold the same numbers.

    Raises:
        DisagreementError: if an element is off by more than `bound` of the largest.
    """
    pairs = zip(jax.tree.leaves_with_path(mine), jax.tree.leaves(rival), strict=True)
    for (path, a), b in pairs:
        a, b = np.asarray(a), np.asarray(b)  # which compiles nothing
        off, largest = np.max(np.abs(a - b), initial=0), np.max(np.abs(b), initial=0)
        if not off <= bound * largest:
            what = jax.tree_util.keystr(path, simple=True) or "the value"
            raise DisagreementError(
                f"{what} differs by {off:.1e}, the largest element being {largest:.1e}"
            )
