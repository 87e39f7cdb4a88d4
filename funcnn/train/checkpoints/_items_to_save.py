"""A state, data and metrics come in; what a checkpoint is to hold of them goes out."""

import json
import zlib
from typing import Any

import jax
import jax.numpy as jnp

from funcnn.train.checkpoints import _named_leaves
from funcnn.train.checkpoints._fingerprint import fingerprint


def items(ocp: Any, leaves: dict[str, jax.Array], data: Any) -> Any:
    """Orbax's items for the leaves of a state, and for the state of its data."""
    return ocp.args.Composite(
        state=ocp.args.PyTreeSave(plain(leaves)),
        about=ocp.args.JsonSave(sealed(leaves, data)),
    )


def arrays(state: Any) -> dict[str, jax.Array]:
    """The leaves of a state by name, as arrays."""
    leaves = _named_leaves.by_name("Checkpoints.save", state)
    return {n: a if isinstance(a, jax.Array) else jnp.asarray(a) for n, a in leaves.items()}


def plain(leaves: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """The arrays for Orbax, which takes neither keys nor arrays without elements."""
    return {
        name: jax.random.key_data(a) if _named_leaves.is_key(a) else a
        for name, a in leaves.items()
        if a.size
    }


def sealed(leaves: dict[str, Any], data: Any) -> dict[str, Any]:
    """A text about a checkpoint, with its checksum.

    Orbax sees files that end early, but not bytes that have changed; so leaves have
    fingerprints.
    """
    prints = jax.device_get({name: fingerprint(leaf) for name, leaf in leaves.items()})
    told = {}
    for name, leaf in leaves.items():
        shape, dtype = _named_leaves.kind(leaf)
        told[name] = {"shape": shape, "dtype": dtype, "fingerprint": int(prints[name])}
        if _named_leaves.is_key(leaf):
            told[name]["impl"] = str(jax.random.key_impl(leaf))
    text = json.dumps({"leaves": told, "data": data})
    return {"text": text, "crc32": zlib.crc32(text.encode())}


def data_state(data: Any) -> Any:
    """The state of an iterator, as it is now.

    Raises:
        TypeError: if it has none, or one that does not fit into JSON.
    """
    if not hasattr(data, "get_state"):
        raise TypeError(
            f"Checkpoints.save needs data with get_state; got {type(data).__name__}."
        )
    try:
        return json.loads(json.dumps(data.get_state()))
    except TypeError as error:
        raise TypeError(
            f"Checkpoints.save needs a state of data that fits into JSON; {error}."
        ) from error


def numbers(metrics: dict[str, Any], best: str | None) -> dict[str, float]:
    """Metrics as floats.

    Raises:
        TypeError: if one is not a number.
        ValueError: if that called `best` is not among them.
    """
    try:
        found = {name: float(value) for name, value in metrics.items()}
    except TypeError as error:
        raise TypeError(f"Checkpoints.save needs metrics of numbers; {error}.") from None
    if best is not None and best not in found:
        raise ValueError(
            f"Checkpoints.save needs metrics with {best!r}, the best's; "
            f"got {sorted(found)}."
        )
    return found
