"""What a checkpoint holds comes in; the state, if it is the one written, goes out."""

import json
import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnn.train.checkpoints import _named_leaves
from funcnn.train.checkpoints._fingerprint import fingerprint


def read_about(ocp: Any, manager: Any, step: int) -> dict[str, Any]:
    """What the checkpoint of a step says about itself.

    Raises:
        Exception: Orbax's, or a ValueError, if it is damaged.
    """
    about = ocp.args.Composite(about=ocp.args.JsonRestore())
    return unsealed(manager.restore(step, args=about)["about"])


def read_state(ocp: Any, manager: Any, step: int, about: dict[str, Any], like: Any) -> Any:
    """The state that a checkpoint holds, which says that it is like `like`.

    Raises:
        Exception: Orbax's, or a ValueError, if it is damaged.
    """
    kept, how = wanted(ocp, about, like)
    args = ocp.args.PyTreeRestore(kept, restore_args=how)
    items = manager.restore(step, args=ocp.args.Composite(state=args))
    return state(items["state"], about, like)


def is_whole(ocp: Any, manager: Any, step: int, like: Any) -> bool:
    """Whether a state like `like` can be read; it is."""
    try:
        about = read_about(ocp, manager, step)
        check("", about, like)
        read_state(ocp, manager, step, about, like)
    except Exception:
        return False
    return True


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
    wanted = _named_leaves.by_name("Checkpoints.restore", like)
    kinds = {name: _named_leaves.kind(leaf) for name, leaf in wanted.items()}
    _named_leaves.check_same("Checkpoints.restore", source, found, kinds)


def wanted(ocp: Any, about: dict[str, Any], like: Any) -> tuple[dict, dict]:
    """Orbax's arguments: which arrays to read, and where to put them."""
    structs, how = {}, {}
    for name, leaf in _named_leaves.by_name("Checkpoints.restore", like).items():
        if not np.size(leaf):
            continue
        shape, dtype = jnp.shape(leaf), jnp.result_type(leaf)
        if _named_leaves.is_key(leaf):
            impl = about["leaves"][name]["impl"]
            one = jax.eval_shape(
                lambda i=impl: jax.random.key_data(jax.random.key(0, impl=i))
            )
            shape, dtype = (*shape, *one.shape), one.dtype
        structs[name] = jax.ShapeDtypeStruct(shape, dtype)
        sharding = _named_leaves.placement(leaf)
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
    for name, leaf in _named_leaves.by_name("Checkpoints.restore", like).items():
        told = about["leaves"][name]
        if not np.size(leaf):
            sharding = _named_leaves.placement(leaf)
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
    return _named_leaves.rebuilt(like, leaves)
