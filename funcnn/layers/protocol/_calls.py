"""How layers call the layers that they are made of: by name, and open to being watched.

Every call of a layer inside another goes through `calling`, which names its operations in
profiles and compiled programs, and lets `watching` see it: what a model's parts are given
and give is known nowhere else. Nobody watching, a call is that of the layer's own `apply`.
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


class Call(NamedTuple):
    """A call of a layer by the one around it.

    Attributes:
        layer: what is called.
        name: it has there.
        index: which of the layers of this name it is, perhaps traced, or None.
        times: how often it is called in a loop.
    """

    layer: Layer
    name: str
    index: Any = None
    times: int = 1


@contextmanager
def calling(layer: Layer, name: Any, index: Any = None, times: int = 1):
    """The `apply` of a layer inside another, to be called in this context."""
    with jax.named_scope(str(name)):
        watcher = _watcher.get()
        if watcher is None:
            yield layer.apply
        else:
            yield partial(watcher, Call(layer, str(name), index, times))


@contextmanager
def watching(watcher: Watcher):
    """Let `watcher(call, params, x, **arguments)` make the calls, and return their results.

    It sees those that are traced or computed in this context, outer ones before those that
    they make; what JAX has traced before and kept is not traced again.
    """
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def watched() -> bool:
    """Whether calls are watched."""
    return _watcher.get() is not None
