"""`python -m benchmarks steps`, with nothing trained."""

import pytest

from benchmarks import __main__ as command
from benchmarks.commands import steps
from benchmarks.steps import race
from tests.support.benchmark_rows import COSTS, STEPS


def test_peers_that_are_not_installed_are_told(monkeypatch, capsys):
    monkeypatch.setattr(race, "find_spec", lambda name: None if name == "haiku" else name)
    monkeypatch.setattr(steps, "race", lambda *_: (STEPS[:1], COSTS[:1]))
    monkeypatch.setattr(steps, "here", lambda packages: {"packages": packages})
    argv = ["steps", "--model", "mlp", "--peer", "haiku", "--peer", "flax"]
    assert command.main(argv) == 0
    out, err = capsys.readouterr()
    assert "mlp  batch 1,2" in out
    assert err == "haiku: not installed\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--model", "vgg"], "no model 'vgg'; there are mlp, cnn, resnet18,"),
        (["--peer", "caffe"], "no peer 'caffe'; there are flax, equinox,"),
        (["--peer", "flax"], "not installed: flax"),
        (["--seconds", "-1"], "--seconds is at least 0"),
    ],
)
def test_wrong_requests_of_steps_are_refused(argv, message, monkeypatch, capsys):
    monkeypatch.setattr(race, "find_spec", lambda name: None)
    assert command.main(["steps", *argv]) == 2
    assert message in capsys.readouterr().err
