"""Params in files that other programs read."""

import json
import os
import re
import struct
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import layers, train

numpy = pytest.importorskip("safetensors.numpy", reason="it writes files: funcnn[train]")
MODEL = layers.Serial(
    stem=layers.Dense(4), blocks=layers.Serial(layers.Dense(4), layers.LayerNorm())
)
NAMES = [
    "blocks.0.bias",
    "blocks.0.weight",
    "blocks.1.offset",
    "blocks.1.scale",
    "stem.bias",
    "stem.weight",
]


def made(seed=0):
    return MODEL.init(jax.random.key(seed), (1, 3))


def exactly(message):
    return f"^{re.escape(message)}$"


def assert_same_bits(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert isinstance(a, jax.Array)
        a, b = np.asarray(a), np.asarray(b)
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def test_names_are_paths_and_others_can_read_them(tmp_path):
    path = tmp_path / "model.safetensors"
    params = made()
    train.save_safetensors(path, params)
    found = numpy.load_file(path)
    assert sorted(found) == NAMES
    np.testing.assert_array_equal(found["blocks.0.weight"], params["blocks"][0]["weight"])
    assert_same_bits(train.load_safetensors(path, made(1)), params)
    like = jax.eval_shape(made)
    assert_same_bits(train.load_safetensors(str(path), like), params)


DTYPES = (
    "bool uint8 int8 uint16 int16 uint32 int32 uint64 int64 float8_e4m3fn float8_e5m2 "
    "bfloat16 float16 float32 float64 complex64"
)


def test_all_dtypes_and_shapes(tmp_path):
    params = {name: jnp.asarray([[0, 1, 2]] * 2).astype(name) for name in DTYPES.split()}
    hard = np.array([0.0, -0.0, np.inf, np.nan, 5e-324])
    params |= {"none": None, "scalar": jnp.float32(3), "empty": jnp.zeros((0, 2))}
    params |= {"hard": hard, "turned": np.arange(6.0).reshape(2, 3).T}
    train.save_safetensors(tmp_path / "all", params)
    assert_same_bits(train.load_safetensors(tmp_path / "all", params), params)
    train.save_safetensors(tmp_path / "one", jnp.arange(3))
    assert list(numpy.load_file(tmp_path / "one")) == ["root"]
    assert_same_bits(
        train.load_safetensors(tmp_path / "one", np.zeros(3, int)), np.arange(3)
    )


def test_params_go_where_like_has_them(tmp_path):
    train.save_safetensors(tmp_path / "a", made())
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    like = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding), made()
    )
    back = train.load_safetensors(tmp_path / "a", like)
    assert all(a.sharding == sharding for a in jax.tree.leaves(back))
    assert_same_bits(back, made())
    assert not train.load_safetensors(tmp_path / "a", made())["stem"]["bias"].committed


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda p: {"stem": p["stem"]},
            "blocks.0.bias is float32 of shape (4,) there and missing in like; "
            "blocks.0.weight is float32 of shape (4, 4) there and missing in like; "
            "blocks.1.offset is float32 of shape (4,) there and missing in like; "
            "and 1 more.",
        ),
        (
            lambda p: p | {"head": jnp.ones(2)},
            "head is missing there and float32 of shape (2,) in like.",
        ),
        (
            lambda p: p | {"stem": p["stem"] | {"bias": jnp.ones(5)}},
            "stem.bias is float32 of shape (4,) there and float32 of shape (5,) in like.",
        ),
        (
            lambda p: p | {"stem": p["stem"] | {"bias": jnp.ones(4, jnp.bfloat16)}},
            "stem.bias is float32 of shape (4,) there and bfloat16 of shape (4,) in like.",
        ),
    ],
)
def test_files_of_another_model(tmp_path, change, message):
    path = tmp_path / "model.safetensors"
    train.save_safetensors(path, made())
    like = jax.tree.map(lambda a: a.astype(jnp.result_type(a)), change(made()))
    like = jax.tree.map(
        lambda a: a.astype(jnp.float32) if a.dtype == jnp.float64 else a, like
    )
    message = f"load_safetensors needs {path} to hold what like does; {message}"
    with pytest.raises(ValueError, match=exactly(message)):
        train.load_safetensors(path, like)


def test_a_dtype_that_numpy_has_not(tmp_path):
    header = json.dumps({"a": {"dtype": "F8_E8M0", "shape": [2], "data_offsets": [0, 2]}})
    content = struct.pack("<Q", len(header)) + header.encode() + b"ab"
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"; a is F8_E8M0 of shape \(2,\) there and uint8 "
    ):
        train.load_safetensors(tmp_path / "a", {"a": jnp.zeros(2, jnp.uint8)})


@pytest.mark.parametrize(
    "params, error, message",
    [
        (
            {"a": {"w": jnp.ones(3, jnp.int4)}},
            TypeError,
            "save_safetensors needs dtypes that the format has; got int4 at a.w.",
        ),
        (
            [jax.random.key(0)],
            TypeError,
            "save_safetensors needs dtypes that the format has; got key<fry> at 0.",
        ),
        (
            {"a.b": np.ones(1), "a": {"b": np.ones(1)}},
            ValueError,
            "save_safetensors needs leaves of different names; got two a.b.",
        ),
    ],
)
def test_what_cannot_be_saved(tmp_path, params, error, message):
    with pytest.raises(error, match=exactly(message)):
        train.save_safetensors(tmp_path / "a", params)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_file_before_it(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    train.save_safetensors(path, made())

    def half(arrays, part):
        with open(part, "wb") as file:
            file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(numpy, "save_file", half)
    message = f"save_safetensors cannot write {path}: No space left on device."
    with pytest.raises(OSError, match=exactly(message)):
        train.save_safetensors(path, made(1))
    assert list(tmp_path.iterdir()) == [path]
    assert_same_bits(train.load_safetensors(path, made()), made())
    with pytest.raises(OSError, match=r"^save_safetensors cannot write .*/none/a: "):
        train.save_safetensors(tmp_path / "none/a", made())


def test_a_file_is_as_readable_as_others(tmp_path):
    train.save_safetensors(tmp_path / "a", made())
    (tmp_path / "b").touch()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_files_that_end_early_or_are_not_there(tmp_path, share):
    path = tmp_path / "model.safetensors"
    train.save_safetensors(path, made())
    os.truncate(path, int(share * path.stat().st_size))
    with pytest.raises(OSError, match=rf"^load_safetensors cannot read {path}: .*\.$"):
        train.load_safetensors(path, made())
    with pytest.raises(OSError, match=rf"^load_safetensors cannot read {tmp_path}/b: "):
        train.load_safetensors(tmp_path / "b", made())


@pytest.mark.parametrize("name", ["save_safetensors", "load_safetensors"])
def test_without_safetensors(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    message = f"{name} needs safetensors: pip install 'funcnn[train]'."
    with pytest.raises(ImportError, match=exactly(message)):
        getattr(train, name)(tmp_path / "a", made())
