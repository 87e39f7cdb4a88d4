"""A run that was stopped goes on from its checkpoints, and ends with the same bits."""

from itertools import islice

import numpy as np
import pytest

from funcnn import layers, train
from tests.support.train_runs import (
    OPTIMIZER,
    STEP,
    Watched,
    assert_same,
    data,
    fail,
    measure,
    start,
)


def test_a_run_that_died_ends_with_the_same_bits(tmp_path):
    options = {"steps": 20, "evaluate": measure, "eval_every": 5}
    want, whole = train.fit(STEP, start(), data(), **options)
    options["checkpoint_every"] = 4
    with train.Checkpoints(tmp_path) as checkpoints, pytest.raises(RuntimeError):
        train.fit(STEP, start(), Watched(13, fail), checkpoints=checkpoints, **options)
    with train.Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest() == 12
        got, history = train.fit(STEP, start(), data(), checkpoints=checkpoints, **options)
        assert checkpoints.latest() == 20
    assert_same(got, want)
    assert history.step.tolist() == list(range(13, 21))
    np.testing.assert_array_equal(history.metrics["loss"], whole.metrics["loss"][12:])
    assert history.eval_step.tolist() == whole.eval_step.tolist() == [5, 10, 15, 20]
    np.testing.assert_array_equal(history.eval_metrics["loss"], whole.eval_metrics["loss"])


def test_a_finished_run_takes_no_more_steps(tmp_path):
    with train.Checkpoints(tmp_path) as checkpoints:
        want, _ = train.fit(STEP, start(), data(), steps=5, checkpoints=checkpoints)
        with pytest.warns(UserWarning, match="fit took no step: the checkpoint has all 5"):
            got, history = train.fit(
                STEP, start(), Watched(0, fail), steps=5, checkpoints=checkpoints
            )
    assert_same(got, want)
    assert not history.step.size


def test_checkpoints_of_another_model_are_refused(tmp_path):
    with train.Checkpoints(tmp_path) as checkpoints:
        train.fit(STEP, start(), data(), steps=2, checkpoints=checkpoints)
        other = start(OPTIMIZER, layers.Dense(5))
        with pytest.raises(ValueError, match="to hold what like does") as raised:
            train.fit(STEP, other, data(), steps=4, checkpoints=checkpoints)
    assert "a new run needs a new place" in raised.value.__notes__[-1]


def test_data_without_a_state_is_warned_of(tmp_path):
    def plain():
        yield from islice(data(), 10)

    with train.Checkpoints(tmp_path) as checkpoints:
        train.fit(STEP, start(), plain(), steps=4, checkpoints=checkpoints)
        message = "data that has no get_state"
        with pytest.warns(UserWarning, match=message) as warned:
            state, _ = train.fit(STEP, start(), plain(), steps=6, checkpoints=checkpoints)
    assert warned[0].filename == __file__
    assert state.step == 6


def test_checkpoints_hold_the_evaluations_numbers(tmp_path):
    with train.Checkpoints(tmp_path, keep=1, best="loss") as checkpoints:
        _, history = train.fit(
            STEP, start(), data(), steps=12, evaluate=measure, eval_every=4,
            checkpoints=checkpoints,
        )  # fmt: skip
        best = int(history.eval_step[history.eval_metrics["loss"].argmin()])
        assert checkpoints.restore(start(), step=best).step == best
    with pytest.raises(ValueError, match="fit needs evaluate for checkpoints with best"):
        train.fit(STEP, start(), data(), steps=1, checkpoints=checkpoints)
