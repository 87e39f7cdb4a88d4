"""What is judged: a function, its reference, and arguments split by what can vary."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import funcnn.ops
from funcnn.verify._autodiff import is_array


class Op(NamedTuple):
    """A function with a hand-written rule, and what it is judged by."""

    name: str
    apply: Callable
    reference: Callable
    cases: Callable


def discover() -> list[Op]:
    """Every op in `funcnn/ops`: the folder is the registry.

    Raises:
        ImportError: naming the file, if one lacks its op, reference or cases.
    """
    found = []
    for module_info in pkgutil.iter_modules(funcnn.ops.__path__):
        name = module_info.name.removeprefix("_")
        module = importlib.import_module(f"{funcnn.ops.__name__}.{module_info.name}")
        parts = [name, f"{name}_reference", f"{name}_cases"]
        missing = [part for part in parts if not hasattr(module, part)]
        if missing:
            raise ImportError(f"{module.__file__} needs {', '.join(missing)}.")
        found.append(Op(name, *(getattr(module, part) for part in parts)))
    return found


class Problem(NamedTuple):
    """A function of its differentiable leaves alone, everything else held fixed.

    `f(*leaves)` returns the floating-point leaves of the function's output, a list.
    """

    f: Callable
    leaves: list
    names: list[str]


def problem(f, args) -> Problem:
    """Split `args` into floating-point array leaves and all else."""
    flat, tree = jax.tree_util.tree_flatten_with_path(args)
    slots = [i for i, (_, leaf) in enumerate(flat) if is_float(leaf)]

    def g(*leaves):
        full = [leaf for _, leaf in flat]
        for i, leaf in zip(slots, leaves, strict=True):
            full[i] = leaf
        return list(filter(is_float, jax.tree.leaves(f(*jax.tree.unflatten(tree, full)))))

    parameters = _parameter_names(f, len(args))
    names = [
        parameters[flat[i][0][0].idx] + jax.tree_util.keystr(flat[i][0][1:]) for i in slots
    ]
    return Problem(g, [flat[i][1] for i in slots], names)


def is_float(leaf) -> bool:
    """Whether `leaf` is an array of floating-point numbers."""
    return is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.floating)


def cast(args, dtype):
    """Give every floating-point array in `args` another dtype."""
    return jax.tree.map(lambda a: np.asarray(a, dtype) if is_float(a) else a, args)


def cotangents(f, leaves, seed):
    """Random cotangents for the outputs of `f`: of both signs, no two alike."""
    rng = np.random.default_rng(seed)
    outputs = jax.eval_shape(f, *leaves)
    return [np.asarray(rng.standard_normal(y.shape), y.dtype) for y in outputs]


def pullback(f, leaves, dys):
    """The cotangents of `leaves` for cotangents `dys` of the outputs of `f`."""
    return list(jax.vjp(f, *leaves)[1](list(dys)))


def _parameter_names(f, count):
    try:
        names = list(inspect.signature(f).parameters)
    except (TypeError, ValueError):
        names = []
    return [*names[:count], *(f"argument {i}" for i in range(len(names), count))]
