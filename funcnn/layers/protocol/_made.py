"""Comes in: a value. Goes out: the call that would make it again, and what it equals.

Two layers are the same if the same calls made them, of the same arguments: numbers of one
type, functions that are one object. Initializers of JAX's are closures, new at each call,
and are told by the call that gives them; so are `functools.partial`s.
"""

from collections.abc import Callable, Hashable
from functools import cache, lru_cache, partial
from inspect import Signature, signature
from types import FunctionType
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.nn import initializers

NOTE = "__funcnn_layer__"  # the attribute of `apply` that holds a `Note`


class Made(NamedTuple):
    """A call.

    Attributes:
        by: the function.
        args: its arguments by position.
        kwargs: by name, without those that are as by default.
    """

    by: Callable
    args: tuple
    kwargs: dict[str, Any]


class Note(NamedTuple):
    """What a constructor leaves on the `apply` of a layer that it gives.

    Attributes:
        made: its call.
        kind: a name for layers that it makes.
        key: what the layer equals.
        hash: of the key.
        init: of the layer, to tell it from one of another `init`.
        apply: the `id` of that, as `functools.wraps` copies a note to another function.
    """

    made: Made
    kind: str
    key: Hashable
    hash: int
    init: Callable
    apply: int


def note(layer: Any) -> Note | None:
    """The note that a constructor left on a layer, if the layer is as it was then."""
    pair = isinstance(layer, tuple) and getattr(layer, "_fields", ()) == ("init", "apply")
    apply = layer[1] if pair else None  # itself, also if calls are watched
    found = getattr(apply, NOTE, None)
    same = found is not None and found.init is layer.init and found.apply == id(apply)
    return found if same else None


def call(by: Callable, takes: Signature, args, kwargs) -> Made:
    """A call in its shortest form: two arguments by position if they have no default."""
    positional: list = []
    named: dict[str, Any] = {}
    sequence = any(p.kind is p.VAR_POSITIONAL for p in takes.parameters.values())
    for name, value in takes.bind(*args, **kwargs).arguments.items():
        parameter = takes.parameters[name]
        if parameter.kind is parameter.VAR_POSITIONAL:
            positional += value
        elif parameter.kind is parameter.VAR_KEYWORD:  # beside `*layers`, in their order
            named |= value if sequence else dict(sorted(value.items()))
        elif parameter.default is not parameter.empty:
            if value is not parameter.default and key(value) != key(parameter.default):
                named[name] = value
        elif len(positional) < 2:
            positional.append(value)
        else:
            named[name] = value
    return Made(by, tuple(positional), named)


def made(value: Any) -> Made | None:
    """The call that makes a layer, named tuple, `partial` or initializer of JAX's."""
    if found := note(value):
        return found.made
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return Made(type(value), tuple(value), {})
    if isinstance(value, partial):
        return Made(partial, (value.func, *value.args), value.keywords)
    return initializer(value)


def initializer(f: Any) -> Made | None:
    """The call that gave `f`, if it was of a function in `jax.nn.initializers`."""
    name, inner, _ = getattr(f, "__qualname__", "").partition(".<locals>.")
    maker = getattr(initializers, name, None) if inner else None
    return made_by(maker, f) if maker and isinstance(f, FunctionType) else None


@lru_cache(64)
def made_by(maker, f) -> Made | None:
    """The call of `maker` that gave `f`, if one did."""
    given = closed_over(f)
    takes = parameters(maker)
    if not given.keys() <= takes.parameters.keys() or not alike(f, maker(**given)):
        return None
    found = call(maker, takes, (), given)
    without_arguments = shorter().get(key_of_call(found))
    return Made(without_arguments, (), {}) if without_arguments else found


@cache
def parameters(maker) -> Signature:
    """Those of a function of `jax.nn.initializers`."""
    return signature(maker)


@cache
def shorter() -> dict[Hashable, Callable]:
    """What gives an initializer without arguments, by the longer call that does."""
    names = [f"{a}_{b}" for a in ("glorot", "he", "lecun") for b in ("normal", "uniform")]
    makers = [getattr(initializers, name) for name in names]
    long = initializers.variance_scaling
    calls = [call(long, parameters(long), (), closed_over(f())) for f in makers]
    return dict(zip(map(key_of_call, calls), makers, strict=True))


def alike(f, g):
    """Whether two closures are of the same code and the same values."""
    if f.__code__ is not g.__code__ or f.__defaults__ != g.__defaults__:
        return False
    return key(closed_over(f)) == key(closed_over(g))


def closed_over(f) -> dict[str, Any]:
    """The values that a closure has of the function around it, by name."""
    cells = f.__closure__ or ()
    return {n: c.cell_contents for n, c in zip(f.__code__.co_freevars, cells, strict=True)}


def key(value: Any) -> Hashable:
    """What `value` equals: it can be hashed, and tells 1 from True and from 1.0."""
    if value is None or isinstance(value, int | float | str):
        return (type(value), value)
    if type(value) in (tuple, list):
        return (type(value), *map(key, value))
    if isinstance(value, dict):
        return (dict, *((name, key(a)) for name, a in value.items()))
    if found := note(value):
        return found.key
    if again := made(value):
        return key_of_call(again)
    if is_dtype(value):
        return (str, jnp.dtype(value).name)
    try:
        hash(value)
    except TypeError:
        return (type(value), id(value))  # the layer keeps it, so nothing else has its id
    return (type(value), value)


def key_of_call(made: Made) -> Hashable:
    """What the result of a call equals."""
    return (made.by, key(made.args), key(made.kwargs))


def is_dtype(value):
    """Whether it is a dtype, or an array's scalar type, and not a name of one."""
    scalar = isinstance(value, type) and issubclass(value, np.generic)
    return isinstance(value, np.dtype | type(jnp.float32)) or scalar
