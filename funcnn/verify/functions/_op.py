"""Names of ops in, the ops out, each with what it is judged by."""

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from typing import NamedTuple

import funcnn.ops


class Op(NamedTuple):
    """A function with a hand-written rule, and what it is judged by."""

    name: str
    apply: Callable
    reference: Callable | None
    cases: Callable


def discover(names: Iterable[str] = ()) -> list[Op]:
    """The ops in `funcnn/ops`, all of them or those named: the folder is the registry.

    Raises:
        ImportError: naming the file, if one lacks its op, reference or cases.
        ValueError: if there is no op of some name.
    """
    found = {}
    for module_info in pkgutil.iter_modules(funcnn.ops.__path__):
        name = module_info.name.removeprefix("_")
        module = importlib.import_module(f"{funcnn.ops.__name__}.{module_info.name}")
        parts = [name, f"{name}_reference", f"{name}_cases"]
        missing = [part for part in parts if not hasattr(module, part)]
        if missing:
            raise ImportError(f"{module.__file__} needs {', '.join(missing)}.")
        found[name] = Op(name, *(getattr(module, part) for part in parts))
    names = list(names) or list(found)
    if unknown := [name for name in names if name not in found]:
        raise ValueError(
            f"There is no op {', '.join(map(repr, unknown))}; the ops are "
            f"{', '.join(found)}."
        )
    return [found[name] for name in names]
