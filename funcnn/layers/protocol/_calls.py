"""How layers call the layers that they are made of: by name, and open to being watched.

Every call of a layer inside another of funcnn's goes through `calling`, which names its
operations in profiles and compiled programs, and lets `watching` see it: what a model's
parts are given and give is known nowhere else. A call by a function of the user's is seen,
if it is asked for, where that looks up `layer.apply`. Nobody watching, a call is that of
the layer's own `apply`, and `layer.apply` is that function itself.
"""

from collections.abc import Callable
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, NamedTuple

import jax

from funcnn.layers.protocol._layer import Layer

Watcher = Callable[..., Any]
_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)
_direct: ContextVar[Watcher | None] = ContextVar("direct", default=None)


class Call(NamedTuple):
    """A call of a layer by the one around it.

    Attributes:
        layer: what is called; `layer[1]` is its `apply`, where `layer.apply` is watched.
        name: it has there; None if a function calls it that gives it none.
        index: which of the layers of this name it is, perhaps traced, or None.
        times: how often it is called in a loop.
    """

    layer: Layer
    name: str | None
    index: Any = None
    times: int = 1


@contextmanager
def calling(layer: Layer, name: Any, index: Any = None, times: int = 1):
    """The `apply` of a layer inside another, to be called in this context."""
    with jax.named_scope(str(name)):
        watcher = _watcher.get()
        if watcher is None:
            yield layer[1]
        else:
            yield partial(watcher, Call(layer, str(name), index, times))


@contextmanager
def watching(watcher: Watcher, direct: bool = False):
    """Let `watcher(call, params, x, **arguments)` make the calls, and return their results.

    It sees those that are traced or computed in this context, outer ones before those that
    they make; what JAX has traced before and kept is not traced again.

    Args:
        watcher: what makes the calls.
        direct: whether it makes those, too, of functions that look up `layer.apply`.
    """
    token = _watcher.set(watcher)
    token_of_direct = _direct.set(watcher if direct else None)
    try:
        yield
    finally:
        _direct.reset(token_of_direct)
        _watcher.reset(token)


def apply_of(layer: Layer) -> Callable:
    """The `apply` of a layer, or what lets its call be watched."""
    watcher = _direct.get()
    return layer[1] if watcher is None else partial(watcher, Call(layer, None))


# In place of the field's own; tuples have no other place to be asked for it.
setattr(Layer, "apply", property(apply_of))  # noqa: B010


def watched() -> bool:
    """Whether calls are watched."""
    return _watcher.get() is not None
