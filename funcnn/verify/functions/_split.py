"""Arguments in; which of them are differentiated, traced or held fixed out."""

import inspect
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from funcnn.verify.functions._autodiff import is_array, with_plain_numbers


class SplitArguments:
    """Arguments split into what is differentiated, what is traced, and what is neither.

    `leaves` are the floating-point arrays, a complex one as its real and its imaginary
    part; `held` the other arrays; everything else is `static`. `names` are the leaves',
    `groups` the indices of the leaves in each argument that has any.
    """

    def __init__(self, f, args, concrete=False):
        self.concrete = concrete
        args = with_plain_numbers(f, args)
        flat, self._tree = jax.tree_util.tree_flatten_with_path(args)
        parameters = parameter_names(f, len(args))
        self.leaves: list = []
        self.held: list = []
        self.names: list[str] = []
        self._kinds = []
        self._static = []
        groups: dict = {}
        for path, leaf in flat:
            kind = _kind(leaf, concrete)
            name = parameters[path[0].idx] + jax.tree_util.keystr(path[1:])
            if kind == "complex":
                self.leaves += [np.real(leaf), np.imag(leaf)]
                self.names += [f"{name}.real", f"{name}.imag"]
            elif kind == "float":
                self.leaves.append(leaf)
                self.names.append(name)
            elif kind == "held":
                self.held.append(leaf)
            count = {"complex": 2, "float": 1}.get(kind, 0)
            group = groups.setdefault(path[0].idx, [])
            group += range(len(self.leaves) - count, len(self.leaves))
            self._kinds.append(kind)
            self._static.append(leaf if kind == "static" else None)
        self.groups = [group for group in groups.values() if group]

    def fits(self, other) -> bool:
        """Whether what was compiled for one serves the other: only numbers differ."""
        return (
            self._tree == other._tree
            and self._kinds == other._kinds
            and _types(self.leaves + self.held) == _types(other.leaves + other.held)
            and all(map(_same, self._static, other._static))
        )

    def call(self, f, leaves, held) -> list:
        """The floating-point arrays of the function's output, complex ones as two."""
        leaves, held = iter(leaves), iter(held)
        full = []
        for kind, leaf in zip(self._kinds, self._static, strict=True):
            if kind == "complex":
                leaf = jax.lax.complex(next(leaves), next(leaves))
            elif kind != "static":
                leaf = next(leaves if kind == "float" else held)
            full.append(leaf)
        found = []
        for y in jax.tree.leaves(f(*jax.tree.unflatten(self._tree, full))):
            if is_float(y):
                found.append(y)
            elif is_array(y) and jnp.issubdtype(y.dtype, jnp.complexfloating):
                found += [y.real, y.imag]
        return found


def _types(arrays):
    return [(a.shape, a.dtype) for a in arrays]


def _same(a, b):
    try:
        return a is b or (type(a) is type(b) and np.array_equal(a, b))
    except Exception:  # whatever a caller's own class raises
        return False


def _kind(leaf, concrete):
    if not is_array(leaf):
        return "static"
    if is_float(leaf):
        return "float"
    if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
        return "complex"
    return "static" if concrete or isinstance(leaf, np.generic) else "held"


class Problem(NamedTuple):
    """A function of its differentiable leaves alone, everything else held fixed.

    `f(*leaves)` returns the floating-point leaves of the function's output, a list.
    """

    f: Callable
    leaves: list
    names: list[str]


def problem(f, args) -> Problem:
    """SplitArguments `args` into floating-point array leaves and all else."""
    split = SplitArguments(f, args)
    return Problem(
        lambda *leaves: split.call(f, leaves, split.held), split.leaves, split.names
    )


def is_float(leaf) -> bool:
    """Whether `leaf` is an array of floating-point numbers."""
    return is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.floating)


def cast(args, dtype):
    """Give every floating-point array in `args` another dtype."""
    return jax.tree.map(lambda a: np.asarray(a, dtype) if is_float(a) else a, args)


def parameter_names(f, count) -> list[str]:
    """What `f` calls its first `count` arguments."""
    try:
        names = list(inspect.signature(f).parameters)
    except (TypeError, ValueError):
        names = []
    return [*names[:count], *(f"argument {i}" for i in range(len(names), count))]
