"""`python -m benchmarks optim`: updates are optax's."""

import pytest

from benchmarks import __main__ as command
from benchmarks import results
from benchmarks.commands import optim

FEW = ["optim", "--parameters", "200", "--small", "3", "--seconds", "0", "--rounds", "1"]


def test_updates_are_compared_with_optax(plain_jax, capsys, tmp_path):
    pytest.importorskip("optax", reason="updates are compared with its")
    file = tmp_path / "run.json"
    argv = [*FEW, "--method", "lion", "--method", "momentum", "--json", str(file)]
    assert command.main(argv) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    run = results.read(file)
    names = ["lion", "momentum"]
    assert [(r.case, r.kind) for r in run.rows] == [
        (n, k) for n in names for k in ("100", "1")
    ]
    assert [(cost.case, cost.what) for cost in run.costs] == [(n, "compile") for n in names]
    assert all(cost.mine > 0 and cost.rival > 0 for cost in run.costs)


@pytest.mark.parametrize("name", optim.METHODS)
def test_updates_that_are_timed_are_the_same(name, plain_jax):
    pytest.importorskip("optax", reason="updates are compared with its")
    row = optim.timed(name, optim.Model(2, 5), 0, 1)
    assert (row.case, row.kind) == (name, "2")


def test_updates_that_differ_are_seen(plain_jax, capsys, monkeypatch):
    pytest.importorskip("optax", reason="updates are compared with its")
    slower = lambda rate, **more: optim.optim.chain()  # noqa: E731
    monkeypatch.setattr(optim.optim, "lion", slower)
    assert command.main([*FEW, "--small", "0", "--method", "lion"]) == 1
    assert "wrong: lion, 100 leaves: 0000 differs by" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--method", "sgdm"], "no method 'sgdm'; there are adamw, momentum,"),
        (["--rounds", "0"], "--rounds at least 1"),
        (["--parameters", "99"], "--parameters is at least 100"),
        ([], "not installed: optax"),
    ],
)
def test_wrong_requests_of_optim_are_refused(argv, message, monkeypatch, capsys):
    monkeypatch.setattr(optim, "find_spec", lambda name: None)
    assert command.main(["optim", *argv]) == 2
    assert message in capsys.readouterr().err
