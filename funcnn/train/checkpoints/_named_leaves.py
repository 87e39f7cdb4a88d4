"""A pytree comes in, its leaves go out by name, as files have them; and the way back."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import keystr, tree_leaves_with_path

SHOWN = 3  # differences in a message


def by_name(function: str, tree: Any) -> dict[str, Any]:
    """Return the leaves of a pytree by their paths, such as `blocks.0.weight`.

    A name is made of a dict's keys, a NamedTuple's fields and a tuple's indices, joined
    by dots. A tree that is one leaf calls it `root`.

    Raises:
        ValueError: if two leaves have one name, as dots inside keys can make it.
    """
    leaves: dict[str, Any] = {}
    for path, leaf in tree_leaves_with_path(tree):
        name = keystr(path, simple=True, separator=".") or "root"
        if name in leaves:
            raise ValueError(f"{function} needs leaves of different names; got two {name}.")
        leaves[name] = leaf
    return leaves


def rebuilt(like: Any, leaves: dict[str, Any]) -> Any:
    """The pytree like `like` of leaves by name, which may be in any order."""
    ordered = [leaves[name] for name in by_name("rebuilt", like)]
    return jax.tree.unflatten(jax.tree.structure(like), ordered)


def kind(leaf: Any) -> tuple[tuple[int, ...], str]:
    """Shape and dtype."""
    return tuple(np.shape(leaf)), str(jnp.result_type(leaf))


def is_key(leaf: Any) -> bool:
    """Whether a leaf is of typed PRNG keys."""
    return jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key)


def placement(like: Any) -> jax.sharding.Sharding | None:
    """Where an array like `like` is to be; None where nothing says so."""
    return getattr(like, "sharding", None) if getattr(like, "committed", True) else None


def check_same(function: str, source: str, found: dict[str, Any], like: dict[str, Any]):
    """Check that `found` and `like`, kinds by name, are the same.

    Raises:
        ValueError: naming the first leaves that differ, and both their kinds.
    """
    names = [*like, *sorted(found.keys() - like.keys())]
    differ = [name for name in names if found.get(name) != like.get(name)]
    if differ:
        shown = "; ".join(
            f"{name} is {told(found.get(name))} there and {told(like.get(name))} in like"
            for name in differ[:SHOWN]
        )
        more = f"; and {len(differ) - SHOWN} more" if len(differ) > SHOWN else ""
        raise ValueError(
            f"{function} needs {source} to hold what like does; {shown}{more}."
        )


def told(kind):
    """A kind in words."""
    return "missing" if kind is None else f"{kind[1]} of shape {kind[0]}"
