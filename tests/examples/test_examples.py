"""Every example runs, is calm, and does what it says."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import train

FOLDER = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(p.name for p in FOLDER.glob("*.py") if "\ndef main(" in p.read_text())


def run(script, *arguments):
    """Run an example as its reader would, in 80 columns, with warnings as errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", str(FOLDER / script), *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "80"},
        check=False,
    )


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    for path in FOLDER.glob("*.py"):
        sys.modules.pop(path.stem, None)


def test_there_are_examples():
    assert {"cnn.py", "demo.py", "language_model.py", "mlp.py", "vit.py"} <= set(SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS)
def test_runs(script, tmp_path):
    shown = run(script, "--help")
    assert shown.returncode == 0, shown.stderr
    assert "--steps" in shown.stdout
    assert "--seed" in shown.stdout

    picture = tmp_path / "made" / "picture.png"
    arguments = ["--steps", "3", "--seed", "4"]
    draws = "--out" in shown.stdout
    arguments += ["--out", str(picture)] if draws else []
    arguments += ["--skip-verify"] if "--skip-verify" in shown.stdout else []
    done = run(script, *arguments)
    assert done.returncode == 0, done.stderr
    told = "bits a character" if script == "language_model.py" else "est accuracy"
    assert told in done.stdout
    assert max(map(len, done.stdout.replace(str(picture), "").splitlines())) <= 80
    assert "3/3" in done.stderr
    bar = re.compile(r"\| \d+/\d+ \[")
    others = [line for line in done.stderr.splitlines() if not bar.search(line)]
    assert not any(others)  # nothing but progress bars
    assert picture.exists() == draws
    if draws:
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert picture.stat().st_size > 10_000


def test_two_processes_learn_what_one_does(tmp_path):
    found = []
    for count in ("1", "2"):
        log = tmp_path / f"{count}.json"
        done = run("processes.py", "--steps", "5", "--processes", count, "--log", str(log))
        assert done.returncode == 0, done.stderr
        assert f"{count} processes, {count} devices." in done.stdout
        found.append(json.loads(log.read_text()))
    one, two = found
    assert len(one) == 5
    np.testing.assert_allclose(two, one, rtol=1e-5)


def test_a_process_that_fails_ends_the_others(tmp_path):
    done = run("processes.py", "--steps", "1", "--log", str(tmp_path / "none" / "log.json"))
    assert done.returncode == 1
    assert "FileNotFoundError" in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last == "Process 0 of 2 ended with code 1; the others were ended."


@pytest.mark.parametrize("wrong", [["--steps", "0"], ["--seed", "-1"], ["--steps", "x"]])
def test_wrong_numbers_are_told_apart(module, capsys, wrong):
    parser = module("digits").arguments("Train.", steps=5)
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(wrong)
    assert wrong[0] in capsys.readouterr().err


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


@pytest.mark.parametrize("misread", [0, 5, 360])
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
