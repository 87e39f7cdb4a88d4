"""Params go out to a file in safetensors' format, and come in from one."""

import os
import tempfile
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from funcnn.train.checkpoints import _named_leaves

# How the format calls the dtypes that it and NumPy's extensions have in common.
DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "U32": "uint32",
    "I32": "int32",
    "U64": "uint64",
    "I64": "int64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "BF16": "bfloat16",
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
}


def save_safetensors(path: Any, params: chex.ArrayTree) -> None:
    """Write params to a file that other programs and libraries can read.

        train.save_safetensors(path, params)
        params = train.load_safetensors(path, params)

    Arrays are named by their paths, joined by dots, as is usual in these files:
    `{"blocks": ({"weight": w},)}` becomes `blocks.0.weight`. The file appears when it is
    whole, in place of one that was there.

    Args:
        path: where to write, such as `model.safetensors`.
        params: a pytree of arrays, of any dtype but keys, complex128 and integers of less
            than 8 bits. Arrays on several devices are brought together.

    Raises:
        ImportError: if safetensors is not installed.
        OSError: if the file cannot be written; one that was there stays.
        TypeError: if there is a dtype that the format has not.
        ValueError: if two leaves have one name, or a leaf is not in this process.
    """
    numpy = safetensors("save_safetensors").numpy
    arrays = {}
    for name, leaf in _named_leaves.by_name("save_safetensors", params).items():
        dtype = _named_leaves.kind(leaf)[1]
        if dtype not in DTYPES.values():
            raise TypeError(
                f"save_safetensors needs dtypes that the format has; got {dtype} at {name}."
            )
        if not getattr(leaf, "is_fully_addressable", True):
            raise ValueError(
                f"save_safetensors needs all of {name} in this process; got "
                f"{leaf.sharding}."
            )
        arrays[name] = np.asarray(leaf, dtype, order="C")
    path = Path(path).expanduser()
    part = None
    try:
        descriptor, part = tempfile.mkstemp(
            dir=path.parent, prefix=path.name, suffix=".part"
        )
        os.close(descriptor)
        numpy.save_file(arrays, part)
        os.chmod(part, 0o666 & ~current_umask())
        os.replace(part, path)
    except Exception as error:
        if part is not None:
            Path(part).unlink(missing_ok=True)
        raise OSError(f"save_safetensors cannot write {path}: {error}.") from error


def load_safetensors(path: Any, like: Any) -> Any:
    """Read params from a file.

    Args:
        path: a file whose arrays are named as `save_safetensors` names them.
        like: params of the same structure, shapes and dtypes, of arrays or of
            `jax.ShapeDtypeStruct`s. Each leaf goes where `like` has it, or else to JAX's
            default device.

    Returns:
        Params like `like`, with the file's numbers.

    Raises:
        ImportError: if safetensors is not installed.
        OSError: if the file cannot be read, or is damaged.
        ValueError: if names, shapes or dtypes differ from those of `like`, naming them.
    """
    deserialize = safetensors("load_safetensors").deserialize
    try:
        found = dict(deserialize(Path(path).expanduser().read_bytes()))
    except Exception as error:
        raise OSError(f"load_safetensors cannot read {path}: {error}.") from error
    wanted = _named_leaves.by_name("load_safetensors", like)
    kinds = {
        name: (tuple(a["shape"]), DTYPES.get(a["dtype"], a["dtype"]))
        for name, a in found.items()
    }
    like_kinds = {name: _named_leaves.kind(leaf) for name, leaf in wanted.items()}
    _named_leaves.check_same("load_safetensors", str(path), kinds, like_kinds)

    def read(name, leaf):
        shape, dtype = kinds[name]
        a = np.frombuffer(found[name]["data"], jnp.dtype(dtype)).reshape(shape)
        return jax.device_put(a, _named_leaves.placement(leaf))

    return _named_leaves.rebuilt(
        like, {name: read(name, leaf) for name, leaf in wanted.items()}
    )


def current_umask():
    """What this process takes from the permissions of new files."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def safetensors(function):
    """The library, which is an extra.

    Raises:
        ImportError: if it is not installed.
    """
    try:
        import safetensors
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            f"{function} needs safetensors: pip install 'funcnn[train]'."
        ) from error
    return safetensors
