"""`python -m benchmarks ops`, given tiny shapes and no time."""

import json

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import results
from benchmarks.ops import measure, plain
from benchmarks.ops.cases import describe
from benchmarks.ops.choice import chosen

TINY = ["--op", "conv", "--shape", "2,5,5,3 3,3,3,4", "--stride", "2"]


SMALLEST = ["--op", "tanh", "--shape", "3,4"]


@pytest.fixture
def clock(monkeypatch):
    """In place of timing: every program takes a second, funcnn's half of one."""
    monkeypatch.setattr(measure, "paired", lambda *_: np.array([[1.0, 0.5]] * 7))


def test_one_case_given_in_numbers(clock, capsys):
    assert command.main(["ops", *TINY, "--kind", "vjp", "--kind", "filter"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["conv", "given", "vjp", "1000", "2.00", "0.00"]
    assert lines[2].split() == [
        *TINY[3].split(),
        "stride=2",
        *["filter", "1000", "2.00", "0.00"],
    ]
    assert any(line.startswith("conv           filter") for line in lines)


def test_files_and_markdown(clock, capsys, tmp_path):
    file = str(tmp_path / "run.json")
    assert command.main([*TINY, "--json", file, "--markdown"]) == 0
    assert "| conv | given |" in capsys.readouterr().out
    assert [r.kind for r in results.read(file).rows] == [
        "forward",
        "vjp",
        "filter",
        "input",
    ]


def test_check_fails_where_a_ratio_fell(clock, capsys, tmp_path):
    file = tmp_path / "run.json"
    assert command.main([*SMALLEST, "--save", str(file)]) == 0
    assert command.main([*SMALLEST, "--check", str(file)]) == 0
    data = json.loads(file.read_text())
    data["rows"][1] |= {"low": 3.0, "ratio": 3.1, "high": 3.2}
    data["about"]["jax"] = "0.0"
    file.write_text(json.dumps(data))
    capsys.readouterr()
    assert command.main([*SMALLEST, "--check", str(file)]) == 1
    out, err = capsys.readouterr()
    assert err.startswith("fell: tanh 3,4, vjp: 2.00")
    assert "on another machine or JAX" in err
    assert "1 ratios fell; 0 are in one of the runs alone." in out


def test_different_numbers_fail(clock, capsys, monkeypatch):
    monkeypatch.setattr(plain, "relu", lambda x: x)
    assert command.main(["--op", "relu", "--shape", "3,4"]) == 1
    assert "wrong: relu 3,4, forward: the value differs by" in capsys.readouterr().err


def test_memory_is_told(capsys):
    assert command.main(["--op", "gelu", "--shape", "3,4", "--memory"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[1].split()[:3] == ["gelu", "given", "temp"]
    assert max(map(len, out.splitlines())) <= 80
    (cost,) = [
        c
        for c in measure.memory(describe(chosen(["relu"], "3,4", {})[0]))
        if c.what == "held"
    ]
    assert cost.mine == 48


def test_shapes_are_listed(capsys):
    assert command.main(["--op", "dense", "--shape", "MNIST", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["dense  MNIST, first", "  128,784 784,512"]
    assert len(lines) == 4


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--op", "convolve"], "no op 'convolve'; there are attention, avg_pool,"),
        (["--op", "dropout"], "no op 'dropout'"),
        (["--shape", "AlexNet"], "no shape has 'AlexNet' in it; --list prints them all"),
        (["--shape", "2,3"], "--shape '2,3' needs one --op"),
        (["--op", "relu", "--stride", "2"], "--stride is for a --shape in numbers"),
        (["--op", "conv", "--shape", "2,3"], "conv needs the shape of x and weight; got 1"),
        (["--op", "relu", "--shape", "2,0"], "a shape is like 128,28,28,1; got '2,0'"),
        ([*TINY, "--padding", "FULL"], "an option is like 2, 2,1, SAME, True or 0:1"),
        ([*TINY, "--window", "2"], "window"),
        ([*TINY, "--groups", "2"], "groups that divide the 3 channels"),
        (["--kind", "backward"], "no kind 'backward'; there are forward, vjp,"),
        (["--op", "relu", "--kind", "filter"], "these ops have no filter to time"),
        (["--rounds", "0"], "--rounds at least 1"),
        ([*TINY, "--memory", "--markdown"], "--memory and --compile go with --json alone"),
        ([*TINY, "--check", "none.json"], "there is no file none.json"),
    ],
)
def test_wrong_requests_are_refused(argv, message, capsys):
    assert command.main(argv) == 2
    err = capsys.readouterr().err
    assert message in " ".join(err.split())
    assert max(map(len, err.splitlines())) <= 80
