"""A damaged checkpoint is never taken for a whole one."""

import re

import jax
import jax.numpy as jnp
import pytest

from funcnn import train
from tests.support.saved_states import (
    KEY,
    assert_same_bits,
    at,
    batches,
)

pytest.importorskip("orbax.checkpoint", reason="it writes checkpoints: funcnn[train]")

# TensorStore tells an event loop of all that failed, which Orbax closes at the first.
pytestmark = pytest.mark.filterwarnings(
    "ignore:(?s)Exception ignored in. None.*Event loop is closed:"
    "pytest.PytestUnraisableExceptionWarning"
)


def large(count):
    x = jax.random.normal(jax.random.key(count), (2**16,), jnp.float32)
    return train.TrainState(jnp.int32(count), {"w": x}, (), KEY)


def damage(path, how):
    content = path.read_bytes()
    if how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif how == "changed":
        middle = len(content) // 2
        path.write_bytes(
            content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        )
    else:
        path.unlink()


def largest(directory):
    return max(
        (p for p in directory.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size
    )


@pytest.mark.parametrize(
    "what, how",
    [
        ("numbers", "cut"),
        ("numbers", "changed"),
        ("about", "gone"),
        pytest.param("numbers", "gone", marks=pytest.mark.exhaustive),
        pytest.param("about", "cut", marks=pytest.mark.exhaustive),
        pytest.param("about", "changed", marks=pytest.mark.exhaustive),
    ],
)
def test_a_damaged_checkpoint_is_an_error_that_names_a_whole_one(tmp_path, how, what):
    with train.Checkpoints(tmp_path, keep=None) as checkpoints:
        for i in (1, 2, 3, 4):
            checkpoints.save(large(i))
    for i in (3, 4):
        root = tmp_path / str(i)
        damage(root / "about/metadata" if what == "about" else largest(root), how)
    with train.Checkpoints(tmp_path) as checkpoints:
        advice = f"Step 2 is whole: remove {tmp_path / '4'} to go on from there."
        with pytest.raises(
            OSError,
            match=f"^Checkpoints cannot read step 4 in {tmp_path}: .* {re.escape(advice)}$",
        ):
            checkpoints.restore(large(0))
        assert_same_bits(checkpoints.restore(large(0), step=2), large(2))
        for i in (1, 2):
            damage(largest(tmp_path / str(i)), how)
        with pytest.raises(OSError, match=r" None before it is whole\.$"):
            checkpoints.restore(large(0))


def test_a_place_of_the_data_that_has_changed(tmp_path):
    """It still is JSON, and a state that data takes."""
    data = batches()
    next(data)
    with train.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(at(1), data)
        checkpoints.wait()
        about = tmp_path / "1/about/metadata"
        content = about.read_bytes()
        about.write_bytes(content.replace(b'batches\\": 1', b'batches\\": 2'))
        assert about.read_bytes() != content
        with pytest.raises(OSError, match="what it says about itself has changed"):
            checkpoints.restore(at(0), data)
    assert data.get_state()["batches"] == 1
