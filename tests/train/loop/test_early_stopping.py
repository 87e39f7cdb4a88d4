"""A run stops when its evaluations no longer improve."""

import pytest

from funcnn import train
from tests.support.train_runs import STEP, data, start


@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        ([3, 2, 1], {"patience": 1}, False),
        ([3, 3], {"patience": 1}, True),
        ([3, 4, 2, 5], {"patience": 2}, False),
        ([3, 4, 5], {"patience": 2}, True),
        ([3, 2.9, 2.8], {"patience": 2, "least": 0.5}, True),
        ([1, 2, 3], {"patience": 1, "mode": "max"}, False),
        ([1, 1, 1], {"patience": 2, "mode": "max"}, True),
        ([float("nan")] * 2, {"patience": 2}, True),
        ([], {"patience": 1}, False),
    ],
)
def test_early_stopping(values, options, expected):
    evaluations = [(i, {"loss": v}) for i, v in enumerate(values)]
    assert train.EarlyStopping(**options).reached(evaluations) is expected


def test_fit_stops_early():
    rising = iter(range(100))
    state, history = train.fit(
        STEP, start(), data(), steps=60, evaluate=lambda _: {"loss": next(rising)},
        eval_every=3, stopping=train.EarlyStopping(patience=2),
    )  # fmt: skip
    assert state.step == 9
    assert history.stopped == "early"
    assert history.eval_metrics["loss"].tolist() == [0, 1, 2]


def test_a_run_that_stopped_early_stays_stopped(tmp_path):
    options = {
        "steps": 60, "evaluate": lambda _: {"loss": 1.0}, "eval_every": 3,
        "stopping": train.EarlyStopping(patience=2),
    }  # fmt: skip
    with train.Checkpoints(tmp_path) as checkpoints:
        for _ in range(2):
            state, history = train.fit(
                STEP, start(), data(), checkpoints=checkpoints, **options
            )
            assert state.step == 9
            assert history.stopped == "early"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"metric": 3}, TypeError, "needs a metric's name; got 3"),
        ({"patience": 0}, ValueError, "patience of at least 1; got 0"),
        ({"mode": "up"}, ValueError, "mode 'min' or 'max'; got 'up'"),
        ({"least": -1}, ValueError, "least"),
    ],
)
def test_early_stopping_needs_sense(options, error, message):
    with pytest.raises(error, match=message):
        train.EarlyStopping(**options)


def test_early_stopping_needs_its_metric():
    with pytest.raises(ValueError, match="needs evaluations with 'accuracy'; got loss"):
        train.EarlyStopping("accuracy").reached([(1, {"loss": 1.0})])
