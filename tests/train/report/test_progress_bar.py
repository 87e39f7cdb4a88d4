"""A bar on a terminal, where tqdm is installed, with the latest numbers."""

import re
import sys

import pytest

from funcnn import train
from tests.support.train_runs import STEP, data, measure, start


def fit(steps, batches=None, **arguments):
    return train.fit(STEP, start(), batches or data(), steps=steps, **arguments)


def test_progress_bar(capsys):
    pytest.importorskip("tqdm")
    _, history = fit(25, progress=True, evaluate=measure, log_every=5)
    shown = capsys.readouterr().err
    assert "25/25" in shown
    assert "it/s" in shown
    assert f"loss={history.metrics['loss'][-1]:.3g}" in shown
    assert f"eval_loss={history.eval_metrics['loss'][-1]:.3g}" in shown


def test_a_bar_of_80_columns_has_the_loss_first_and_then_what_fits(capsys, monkeypatch):
    pytest.importorskip("tqdm")
    monkeypatch.setattr("tqdm.std._screen_shape_wrapper", lambda: lambda fp: (80, 24))

    def evaluate(params):
        return measure(params) | {"a_metric_of_a_very_long_name_indeed": 1.0, "z": 2.0}

    fit(25, progress=True, evaluate=evaluate, log_every=5)
    shown = capsys.readouterr().err.replace("\n", "\r").split("\r")
    bars = [line for line in shown if "loss=" in line]
    assert bars
    for line in bars:
        assert len(line) <= 80
        assert line.endswith("]"), line  # nothing is cut off
        assert re.search(r"it/s, loss=[\d.]+", line), line
        assert "a_metric" not in line
    assert "eval_loss=" in bars[-1]


def test_progress_bar_knows_the_end_of_batches(capsys):
    pytest.importorskip("tqdm")
    fit(None, data(epochs=2), progress=True)
    assert "12/12" in capsys.readouterr().err


@pytest.mark.parametrize("progress", [None, False])
def test_no_progress_bar(capsys, progress):
    fit(3, progress=progress)
    assert capsys.readouterr().err == ""


def test_progress_bar_on_a_terminal(capsys, monkeypatch):
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fit(3, progress=None)
    assert "3/3" in capsys.readouterr().err


def test_progress_bar_needs_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(
        ImportError,
        match=r"^fit needs tqdm to show a bar: install funcnn\[train\] or pass "
        r"progress=False.$",
    ):
        fit(3, progress=True)


def test_no_progress_bar_on_a_terminal_without_tqdm(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fit(3, progress=None)
    assert capsys.readouterr().err == ""
