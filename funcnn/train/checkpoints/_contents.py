"""What is in a checkpoint: arrays by name, and a sealed text about them."""

import json
import os
import re
import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnn.train.checkpoints import _leaves
from funcnn.train.checkpoints._fingerprint import fingerprint


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


def arrays(state: Any) -> dict[str, jax.Array]:
    """The leaves of a state by name, as arrays."""
    leaves = _leaves.by_name("Checkpoints.save", state)
    return {n: a if isinstance(a, jax.Array) else jnp.asarray(a) for n, a in leaves.items()}


def plain(leaves: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """The arrays for Orbax, which takes neither keys nor arrays without elements."""
    return {
        name: jax.random.key_data(a) if _leaves.is_key(a) else a
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
        shape, dtype = _leaves.kind(leaf)
        told[name] = {"shape": shape, "dtype": dtype, "fingerprint": int(prints[name])}
        if _leaves.is_key(leaf):
            told[name]["impl"] = str(jax.random.key_impl(leaf))
    text = json.dumps({"leaves": told, "data": data})
    return {"text": text, "crc32": zlib.crc32(text.encode())}


def unsealed(about: dict[str, Any]) -> dict[str, Any]:
    """What `sealed` was told.

    Raises:
        ValueError: if it has changed since.
    """
    if zlib.crc32(about["text"].encode()) != about["crc32"]:
        raise ValueError("what it says about itself has changed since it was written.")
    return json.loads(about["text"])


def check(source: str, about: dict[str, Any], like: Any) -> None:
    """Check that a checkpoint is of a state like `like`.

    Raises:
        ValueError: naming the leaves that differ.
    """
    found = {n: (tuple(a["shape"]), a["dtype"]) for n, a in about["leaves"].items()}
    wanted = _leaves.by_name("Checkpoints.restore", like)
    kinds = {name: _leaves.kind(leaf) for name, leaf in wanted.items()}
    _leaves.check_same("Checkpoints.restore", source, found, kinds)


def wanted(ocp: Any, about: dict[str, Any], like: Any) -> tuple[dict, dict]:
    """Orbax's arguments: which arrays to read, and where to put them."""
    structs, how = {}, {}
    for name, leaf in _leaves.by_name("Checkpoints.restore", like).items():
        if not np.size(leaf):
            continue
        shape, dtype = jnp.shape(leaf), jnp.result_type(leaf)
        if _leaves.is_key(leaf):
            impl = about["leaves"][name]["impl"]
            one = jax.eval_shape(
                lambda i=impl: jax.random.key_data(jax.random.key(0, impl=i))
            )
            shape, dtype = (*shape, *one.shape), one.dtype
        structs[name] = jax.ShapeDtypeStruct(shape, dtype)
        sharding = _leaves.placement(leaf)
        if sharding is None:
            how[name] = ocp.RestoreArgs(restore_type=np.ndarray)
        else:
            how[name] = ocp.ArrayRestoreArgs(sharding=sharding)
    return structs, how


def state(found: dict[str, Any], about: dict[str, Any], like: Any) -> Any:
    """The state that was read.

    Raises:
        ValueError: if it is not the one that was written.
    """
    leaves = {}
    for name, leaf in _leaves.by_name("Checkpoints.restore", like).items():
        told = about["leaves"][name]
        if not np.size(leaf):
            sharding = _leaves.placement(leaf)
            leaves[name] = jnp.zeros(jnp.shape(leaf), told["dtype"], device=sharding)
            continue
        a = found[name]
        a = a if isinstance(a, jax.Array) else jnp.array(a)
        leaves[name] = (
            jax.random.wrap_key_data(a, impl=told["impl"]) if "impl" in told else a
        )
    prints = jax.device_get({name: fingerprint(leaf) for name, leaf in leaves.items()})
    for name, told in about["leaves"].items():
        if prints[name] != told["fingerprint"]:
            raise ValueError(f"{name} has changed since it was written.")
    return _leaves.rebuilt(like, leaves)


def short(error: Exception) -> str:
    """What went wrong, as a sentence; TensorStore's is long, and the whole is chained."""
    text = " ".join(str(error).split()) or type(error).__name__
    code = re.search(r"os_error_code='(\d+)'", text)
    if code:
        text = f"{os.strerror(int(code[1]))}: {text}"
    text = text if len(text) <= 400 else f"{text[:400]}..."
    return text if text.endswith(".") else f"{text}."
