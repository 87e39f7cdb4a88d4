"""Comes in: a layer. Goes out: the calls that make it, with names in place of functions.

Pickle finds a function by its name, but not those of JAX that are compiled or have a rule,
and no closure, of which layers and initializers are made.
"""

from importlib import import_module
from pickle import PicklingError
from traceback import walk_stack
from typing import Any, NamedTuple

from jax.nn import initializers

from funcnn.layers.protocol._code import name
from funcnn.layers.protocol._made import Made, made

BY_VALUE = {"cloudpickle", "dill"}  # they pickle functions without a name too


class Named(NamedTuple):
    """What a module has under a name."""

    module: str
    name: str


class Recipe(NamedTuple):
    """A call, all of it as `recipe` gives it."""

    by: Any
    args: tuple
    kwargs: dict[str, Any]


def recipe(value: Any) -> Any:
    """`value` in a form that can be pickled.

    Raises:
        PicklingError: if a function in it is not at the top of a module.
    """
    if call := made(value):
        return Recipe(recipe(call.by), *each(recipe, call))
    if isinstance(value, tuple | list):
        return type(value)(map(recipe, value))
    return named(value) if callable(value) else value


def remade(value: Any) -> Any:
    """What `recipe` was given."""
    if isinstance(value, Named):
        return there(value)
    if isinstance(value, Recipe):
        args, kwargs = each(remade, value)
        return remade(value.by)(*args, **kwargs)
    return type(value)(map(remade, value)) if isinstance(value, tuple | list) else value


def each(f, call: Made | Recipe) -> tuple[tuple, dict]:
    """The arguments of a call, by position and by name, `f` of each."""
    return tuple(map(f, call.args)), {key: f(a) for key, a in call.kwargs.items()}


def named(f: Any) -> Any:
    """Where a function or class is found by name; or `f`, if it is an object or a method.

    Raises:
        PicklingError: if it is a function that is not found.
    """
    known = getattr(f, "__qualname__", None) or getattr(f, "__name__", None)
    if known is None or getattr(f, "__self__", None) is not None:
        return f
    for module in (initializers.__name__, f.__module__):
        found = Named(module, known)
        if there(found) is f:
            return found
    callers = (frame.f_globals.get("__name__", "") for frame, _ in walk_stack(None))
    if any(BY_VALUE & set(module.split(".")) for module in callers):
        return f
    code = getattr(f, "__code__", None)
    where = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
    raise PicklingError(
        "to be pickled, a layer needs functions that are found by their name, at the top "
        f"of a module; got {name(f)}{where}."
    )


def there(found: Named) -> Any:
    """What a module has under a name, or None."""
    value: Any = import_module(found.module)
    for part in found.name.split("."):
        value = getattr(value, part, None)
    return value
