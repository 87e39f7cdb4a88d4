"""What the examples share: the digits, how they are shifted, and the picture of a run."""

import importlib
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import train

FOLDER = Path(__file__).parents[2] / "examples"


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    for path in FOLDER.glob("*.py"):
        sys.modules.pop(path.stem, None)


def test_confusion_adds_up(module):
    digits = module("digits")
    labels = np.array([0, 0, 1, 9])
    table = digits.confusion(labels, np.array([0, 1, 1, 8])).splitlines()
    assert table[2].split() == ["true", "0", "1", "1", *"........", "1", "of", "2"]
    assert table[11].split() == ["true", "9", *"........", "1", ".", "0", "of", "1"]


def test_split_is_stratified_and_seeded(module):
    digits = module("digits")
    data = digits.load(0)
    assert data.train.images.shape == (1437, 8, 8, 1)
    assert data.test.images.shape == (360, 8, 8, 1)
    assert data.train.images.dtype == np.float32
    counts = np.bincount(data.test.labels)
    assert counts.min() >= 34
    assert counts.max() <= 37
    np.testing.assert_array_equal(data.test.images, digits.load(0).test.images)
    assert not np.array_equal(data.test.images, digits.load(1).test.images)


def test_shift_moves_by_interpolation(module):
    digits = module("digits")
    images = jnp.asarray(digits.load(0).train.images[:50])
    key = jax.random.key(0)
    np.testing.assert_array_equal(digits.shift(key, images, reach=0.0), images)
    moved = digits.shift(key, images)
    assert moved.dtype == images.dtype
    np.testing.assert_array_equal(moved, digits.shift(key, images))
    assert not np.array_equal(moved, digits.shift(jax.random.key(1), images))
    # A point is spread over its neighbours, its mass kept and moved by at most `reach`.
    point = jnp.zeros((50, 8, 8, 1)).at[:, 3, 4].set(1.0)
    moved = digits.shift(key, point)[..., 0]
    np.testing.assert_allclose(moved.sum((1, 2)), 1, rtol=1e-6)
    for axis, at in [(2, 3), (1, 4)]:
        places = moved.sum(axis) @ jnp.arange(8.0)
        assert abs(places - at).max() <= 0.5 + 1e-6
        assert abs(places - at).max() > 0.4


@pytest.mark.parametrize(
    "misread", [5, *(pytest.param(n, marks=pytest.mark.exhaustive) for n in (0, 360))]
)
def test_picture_of_few_and_many_misread(module, tmp_path, misread):
    digits, picture = module("digits"), module("picture")
    test = digits.load(0).test
    shifted = (test.labels + (np.arange(360) < misread)) % 10
    logits = 5 * np.eye(10)[shifted]
    history = train.History(
        step=np.arange(1, 4),
        metrics={"loss": np.array([2.0, 1.0, 0.0]), "grad_norm": np.array([3.0, 2.0, 0.0])},
        eval_step=np.array([3]),
        eval_metrics={"test": np.array([0.97]), "train": np.array([1.0])},
    )
    picture.draw(tmp_path / "a.png", {"CNN": history}, np.ones((3, 3, 1, 5)), test, logits)
    assert (tmp_path / "a.png").exists()
