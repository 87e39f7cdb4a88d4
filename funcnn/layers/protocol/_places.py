"""Comes in: calls of layers, as they are watched. Goes out: where each is in a model.

A layer that one of funcnn's calls has a name there. One that a function of the user's calls
has none, but its params are found among those around it: by the arrays themselves or, where
those are other ones by now (cast, sliced, traced again), by structure and shapes.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.tree_util import keystr, tree_flatten_with_path

from funcnn.layers.protocol._calls import Call
from funcnn.layers.protocol._layer import Layer, kind
from funcnn.layers.protocol._made import note


class Part(NamedTuple):
    """A part of a path.

    Attributes:
        name: a key of the params, the name of a call, or the kind of a layer.
        index: which of the layers of that name it is, perhaps traced, or None.
    """

    name: str
    index: Any = None


Path = tuple[Part, ...]


class Place:
    """A call under way: where it is, its layer and params, and what was called in it."""

    def __init__(self, path: Path, layer: Layer | None, params: Any):
        self.path, self.layer, self.params = path, layer, params
        self.named: dict[str, Layer] = {}
        self.taken: set[Path] = set()


class Places:
    """Where calls are, from the outermost in.

    Args:
        params: of the whole model, as they are given to it.
    """

    def __init__(self, params: Any = None):
        self._known: dict[int, tuple[Path, Any]] = {}
        self._within: list[Place] = []
        self.begin(params)

    def begin(self, params: Any) -> None:
        """These are the params of the whole model."""
        self._within = [Place((), None, params)]
        self.note(params)

    def enter(self, call: Call, params: Any) -> Path | None:
        """A call begins: its path, or None if it is but a part of what is around it."""
        outer = self._within[-1]
        path = self._path(outer, call, params)
        through = call.name is None and path == outer.path
        self._within.append(Place(path, call.layer, params))
        self.note(params)
        return None if through else path

    def note(self, params: Any) -> None:
        """These arrays are the params of the innermost call."""
        path = self._within[-1].path
        for sub, a in arrays_of(params):
            self._known[id(a)] = path + sub, a  # kept, so that nothing else has its id

    def leave(self) -> None:
        """The innermost call ends."""
        self._within.pop()

    def _path(self, outer: Place, call: Call, params: Any) -> Path:
        if call.name is None and wraps(outer.layer, call.layer):
            return outer.path
        if (path := self._by_arrays(params)) is not None:
            return path
        if call.name is not None:
            return (*outer.path, Part(call.name, call.index))
        if (sub := by_shapes(params, outer)) is not None:
            return outer.path + sub
        return (*outer.path, Part(unused_name(outer, call.layer)))

    def _by_arrays(self, params: Any) -> Path | None:
        """Where the arrays are that these params are of."""
        found = set()
        for sub, a in arrays_of(params):
            path, _ = self._known.get(id(a), ((), None))
            end = len(path) - len(sub)
            if id(a) not in self._known or end < 0 or names(path[end:]) != names(sub):
                return None
            found.add(names(path[:end]))
            whole = path[:end]
        return whole if len(found) == 1 else None


def names(path: Path) -> tuple[str, ...]:
    """The names of a path, without the numbers of layers."""
    return tuple(part.name for part in path)


def wraps(outer: Layer | None, layer: Layer) -> bool:
    """Whether a layer is one around another, with the same params: `Remat`, `Cast`."""
    made = None if outer is None else note(outer)
    if made is None or not made.kind.endswith(f"({kind(layer)})"):
        return False
    return made.made.args[0] == layer


def by_shapes(params: Any, outer: Place) -> Path | None:
    """Where params of this structure and these shapes are in those of the call around."""
    if not jax.tree.leaves(params) and not params:
        return None  # as many have it
    wanted = shapes(params)
    found = [path for path, tree in subtrees(outer.params) if shapes(tree) == wanted]
    free = [path for path in found if path not in outer.taken]
    if not found:
        return None
    outer.taken.add((free or found)[0])
    return (free or found)[0]


def unused_name(outer: Place, layer: Layer) -> str:
    """The kind of a layer, with a number if there is another one of that kind."""
    name, i = kind(layer), 1
    while outer.named.setdefault(name, layer) != layer:
        i += 1
        name = f"{kind(layer)}:{i}"
    return name


def subtrees(tree: Any, path: Path = ()):
    """All trees in a tree of dicts and sequences, with their paths."""
    yield path, tree
    if isinstance(tree, Mapping):
        items = list(tree.items())
    elif isinstance(tree, tuple | list):
        items = list(zip(getattr(tree, "_fields", range(len(tree))), tree, strict=True))
    else:
        items = []
    for key, part in items:
        yield from subtrees(part, (*path, Part(str(key))))


def shapes(tree: Any):
    """The structure of a tree, and the shapes in it."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, [np.shape(a) for a in leaves]


def arrays_of(tree: Any):
    """Each array of a tree, after its path."""
    for path, a in tree_flatten_with_path(tree)[0]:
        if hasattr(a, "dtype"):
            yield tuple(Part(keystr((key,), simple=True)) for key in path), a
