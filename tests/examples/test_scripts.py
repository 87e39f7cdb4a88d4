"""Every example runs, is calm, and does what it says."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from funcnn import layers, train
from tests.support import example_run
from tests.support.train_runs import as_a_user_has_it

FOLDER = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(p.name for p in FOLDER.glob("*.py") if "\ndef main(" in p.read_text())
# a process to themselves: what it is about
PROCESSES = {"processes.py", "sharded.py"}
# what is smaller where it is the same program that runs
SMALL = {
    "language_model": {
        "BATCH": 2, "LENGTH": 16, "TOKENS": 160, "FEATURES": 16, "HEADS": 2, "DEPTH": 1,
        "WRITE": 5,
    },
    "vit": {"FEATURES": 8, "HEADS": 2, "DEPTH": 2},
}  # fmt: skip


SMALLER = [sys.executable, "-W", "error", "-m", "tests.support.example_run"]


def run(script, *arguments):
    """Run an example as its reader would, in 80 columns, with warnings as errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", str(FOLDER / script), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "80"},
        check=False,
    )


@pytest.fixture
def module(monkeypatch):
    """Import an example as its neighbours do."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    for path in FOLDER.glob("*.py"):
        sys.modules.pop(path.stem, None)


def run_here(module, monkeypatch, example_file, *arguments, script=None):
    """Run the `main` of an example in this process, smaller where it can be.

    Params are drawn by NumPy: to compile what draws them would take longest. A `script` is
    what the example takes itself for, should it start others.
    """
    name = example_file.removesuffix(".py")
    example = module(name)
    for constant, value in SMALL.get(name, {}).items():
        monkeypatch.setattr(example, constant, value)
    if name == "language_model":
        topics = module("topics")
        little = {k: topics.topics[k] for k in sorted(topics.topics)[:6]}
        monkeypatch.setattr(topics, "topics", little)
    monkeypatch.setattr(train, "init", example_run.init)
    monkeypatch.setattr(sys, "argv", [str(script or example_file), *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "80")
    with as_a_user_has_it():
        example.main()


def arguments_of(help_text, picture):
    given = ["--steps", 3, "--seed", 4]
    given += ["--out", picture] if "--out" in help_text else []
    return given + (["--skip-verify"] if "--skip-verify" in help_text else [])


def check_said(script, out, err, picture, draws):
    told = "bits a character" if script == "language_model.py" else "est accuracy"
    assert told in out
    assert max(map(len, out.replace(str(picture), "").splitlines())) <= 80
    assert "3/3" in err
    bar = re.compile(r"\| \d+/\d+ \[")
    others = [line for line in err.splitlines() if not bar.search(line)]
    assert not any(others)  # nothing but progress bars
    assert picture.exists() == draws
    if draws:
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert picture.stat().st_size > 10_000


def check_help(text):
    assert "--steps" in text
    assert "--seed" in text


def test_there_are_examples():
    assert {"cnn.py", "demo.py", "language_model.py", "mlp.py", "vit.py"} <= set(SCRIPTS)


@pytest.mark.parametrize("script", [s for s in SCRIPTS if s not in PROCESSES])
def test_runs_here(script, module, monkeypatch, capsys, tmp_path):
    """Its `main`, for three steps, in this process."""
    with pytest.raises(SystemExit, match="0"):
        run_here(module, monkeypatch, script, "--help")
    shown = capsys.readouterr().out
    check_help(shown)
    picture = tmp_path / "made" / "picture.png"
    run_here(module, monkeypatch, script, *arguments_of(shown, picture))
    said = capsys.readouterr()
    check_said(script, said.out, said.err, picture, "--out" in shown)


@pytest.mark.parametrize(
    "script",
    [
        s if s == "mlp.py" else pytest.param(s, marks=pytest.mark.exhaustive)
        for s in SCRIPTS
    ],
)
def test_runs(script, tmp_path):
    """As its reader would run it."""
    picture = tmp_path / "made" / "picture.png"
    help_text = (FOLDER / script).read_text()
    if script != "mlp.py":
        shown = run(script, "--help")
        assert shown.returncode == 0, shown.stderr
        help_text = shown.stdout
        check_help(help_text)
    done = run(script, *arguments_of(help_text, picture))
    assert done.returncode == 0, done.stderr
    check_said(script, done.stdout, done.stderr, picture, "--out" in help_text)


def test_eight_devices_hold_an_eighth_each():
    done = subprocess.run(
        [*SMALLER, "sharded.py", "--steps", "1", "--seed", "4"],
        capture_output=True, text=True, cwd=FOLDER.parent, check=False,
        env=os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    check_help((FOLDER / "options.py").read_text())
    held, whole = re.search(r"holds ([\d,]+) of ([\d,]+) bytes", done.stdout).groups()
    held, whole = (int(n.replace(",", "")) for n in (held, whole))
    assert whole / 8 <= held < whole / 4
    assert "est accuracy" in done.stdout
    assert "1/1" in done.stderr


LITTLE_PROCESSES = """
import sys
sys.path.insert(0, {folder!r})
import processes
from funcnn import layers, train
from tests.support import example_run
train.init = example_run.init
little = layers.Serial(layers.Flatten(), layers.Dense(16), layers.Dense(10))
processes.model = lambda: little
processes.main()
"""


@pytest.mark.exhaustive
def test_two_processes_learn_what_one_does(module, monkeypatch, capfd, tmp_path):
    """Processes that are started start this script again, which is a smaller example."""
    script = tmp_path / "little.py"
    script.write_text(LITTLE_PROCESSES.format(folder=str(FOLDER)))
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parent))
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    little = layers.Serial(layers.Flatten(), layers.Dense(16), layers.Dense(10))
    monkeypatch.setattr(module("processes"), "model", lambda: little)
    found = []
    for count in (2, 1):
        log = tmp_path / f"{count}.json"
        arguments = ["--steps", 3, "--processes", count, "--log", log]
        run_here(module, monkeypatch, "processes.py", *arguments, script=script)
        said = capfd.readouterr()
        assert f"{count} processes, {count} devices." in said.out
        check_said("processes.py", said.out, said.err, tmp_path / "none", draws=False)
        found.append(json.loads(log.read_text()))
    two, one = found
    assert len(one) == 3
    np.testing.assert_allclose(two, one, rtol=1e-5)


@pytest.mark.exhaustive
def test_two_whole_processes_learn_what_one_does(tmp_path):
    found = []
    for count in (1, 2):
        log = tmp_path / f"{count}.json"
        done = run("processes.py", "--steps", 5, "--processes", count, "--log", log)
        assert done.returncode == 0, done.stderr
        assert f"{count} processes, {count} devices." in done.stdout
        found.append(json.loads(log.read_text()))
    one, two = found
    assert len(one) == 5
    np.testing.assert_allclose(two, one, rtol=1e-5)


FAILS = """
import sys, time
if sys.argv[-1] == "0":
    raise FileNotFoundError("planted")
time.sleep(60)
"""


def test_a_process_that_fails_ends_the_others(module, monkeypatch, tmp_path, capfd):
    """Here none of them is JAX's, as it would be below."""
    script = tmp_path / "fails.py"
    script.write_text(FAILS)
    processes = module("processes")
    monkeypatch.setattr(sys, "argv", [str(script)])
    with pytest.raises(SystemExit) as left:
        processes.start(type("Arguments", (), {"processes": 2}))
    assert re.match(
        r"Process 0 of 2 ended with code 1; the others were ended\.", str(left.value)
    )
    assert "FileNotFoundError: planted" in capfd.readouterr().err


@pytest.mark.exhaustive
def test_a_process_of_a_run_that_fails_ends_the_others(tmp_path):
    done = run("processes.py", "--steps", 1, "--log", tmp_path / "none" / "log.json")
    assert done.returncode == 1
    assert "FileNotFoundError" in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last == "Process 0 of 2 ended with code 1; the others were ended."


@pytest.mark.parametrize("wrong", [["--steps", "0"], ["--seed", "-1"], ["--steps", "x"]])
def test_wrong_numbers_are_told_apart(module, capsys, wrong):
    parser = module("options").parser("Train.", steps=5)
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(wrong)
    assert wrong[0] in capsys.readouterr().err


def test_rates_warm_up_and_fall(module):
    rate = module("rates").warm_then_falling(2.0, 200, least=0.1)
    np.testing.assert_allclose(rate(0), 2 / 50, rtol=1e-4)
    np.testing.assert_allclose(
        rate(49), 2 * (0.1 + 0.9 * (1 + np.cos(49 / 200 * np.pi)) / 2)
    )
    np.testing.assert_allclose(rate(200), 0.2)
