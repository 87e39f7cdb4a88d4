"""Paths in pytrees, as the patterns have them that users name parameters with."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from jax.tree_util import keystr


def path_of(path):
    """A path as patterns have it, such as "blocks/mlp/up/weight"."""
    return "/".join(map(part_of, path))


def part_of(key):
    """A key of a path, be it of a dict, a tuple or a NamedTuple, as patterns have it."""
    return keystr((key,), simple=True)


def first_match(path, patterns):
    """The first of some patterns that a path's text matches whole, or None.

    A shell's patterns: `*` is for anything, "/" included.
    """
    return next((p for p in patterns if fnmatchcase(path, p)), None)


def as_patterns(function, what, patterns):
    """Patterns, several or one alone, as a tuple.

    Raises:
        TypeError: if one is no string.
    """
    several = isinstance(patterns, Iterable) and not isinstance(patterns, str)
    found = tuple(patterns) if several else (patterns,)
    for pattern in found:
        if not isinstance(pattern, str):
            raise TypeError(f"{function} needs {what} that are strings; got {pattern!r}.")
    return found
