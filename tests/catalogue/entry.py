"""What an entry of the catalogue is, and how all of them are found."""

import importlib
import pkgutil
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np


class Entry(NamedTuple):
    """A rule, arguments to judge it at, and the definition to judge it by.

    Attributes:
        name: unique, in snake case.
        note: what is wrong; for a right rule, what is hard about it.
        f: the function that is judged.
        args: makes random arguments, of the same shapes and dtypes for each generator.
        reference: the textbook definition in plain jnp; None means `autodiff(f)`.
    """

    name: str
    note: str
    f: Callable
    args: Callable[[np.random.Generator], tuple]
    reference: Callable | None = None


def rule(primal, bwd, fwd=None, nondiff_argnums=()):
    """The `custom_vjp` of `primal`; without `fwd`, all arguments are the residuals."""

    def keep_arguments(*args):
        kept = [a for i, a in enumerate(args) if i not in nondiff_argnums]
        return primal(*args), tuple(kept)

    f = jax.custom_vjp(primal, nondiff_argnums=nondiff_argnums)
    f.defvjp(fwd or keep_arguments, bwd)
    return f


def pullback_of(other):
    """A backward pass on residuals that are arguments: the one that belongs to `other`."""
    return lambda args, dy: jax.vjp(other, *args)[1](dy)


def normals(*shapes, dtype=np.float32):
    """Arguments of these shapes with normally distributed elements."""
    return lambda rng: tuple(rng.standard_normal(shape).astype(dtype) for shape in shapes)


def wrong() -> list[Entry]:
    """Every entry of the folder `wrong`."""
    return [entry for family in families("wrong").values() for entry in family]


def right() -> list[Entry]:
    """Every entry of the folder `right`."""
    return [entry for family in families("right").values() for entry in family]


def families(folder: str) -> dict[str, list[Entry]]:
    """The entries of a folder by the names of its modules."""
    package = importlib.import_module(f"{__package__}.{folder}")
    found = {
        info.name: importlib.import_module(f"{package.__name__}.{info.name}").ENTRIES
        for info in pkgutil.iter_modules(package.__path__)
    }
    names = [entry.name for family in found.values() for entry in family]
    twice = {name for name in names if names.count(name) > 1}
    assert not twice, f"Two entries of {folder} have the name {', '.join(sorted(twice))}."
    return found
