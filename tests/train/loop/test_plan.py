"""What `fit` is given is checked before anything is computed."""

import pytest

from funcnn import train
from funcnn.train.loop._plan import Plan, due, plan_of
from tests.support.train_runs import STEP, data, measure, start


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"steps": None}, ValueError, "fit needs steps for batches without end; got None."),
        ({"steps": -1}, ValueError, "fit needs steps of at least 0; got -1."),
        ({"steps": 2.5}, TypeError, "fit needs an integer steps; got 2.5."),
        ({"log_every": 0}, ValueError, "fit needs log_every of at least 1; got 0."),
        (
            {"eval_every": 0, "evaluate": dict},
            ValueError,
            "fit needs eval_every of at least 1; got 0.",
        ),
        ({"eval_every": 5}, ValueError, "fit needs evaluate for eval_every; got 5."),
        (
            {"steps_per_call": 0},
            ValueError,
            "fit needs steps_per_call of at least 1; got 0.",
        ),
        (
            {"steps_per_call": 4, "evaluate": measure, "eval_every": 6},
            ValueError,
            "fit needs eval_every to be a multiple of steps_per_call, 4; got 6.",
        ),
        (
            {"checkpoint_every": 5},
            ValueError,
            "fit needs checkpoints for checkpoint_every; got 5.",
        ),
        (
            {"stopping": train.EarlyStopping()},
            ValueError,
            "fit needs evaluate for stopping; got None.",
        ),
    ],
)
def test_fit_needs_sense(arguments, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        train.fit(STEP, start(), data(), **{"steps": 1} | arguments)


def test_a_plan_is_what_was_given():
    nothing = {"evaluate": None, "stopping": None, "checkpoints": None}
    rest = {"eval_every": None, "checkpoint_every": None}
    plan = plan_of([1, 2], None, 10, 3, **rest, **nothing)
    assert plan == Plan(None, 3, 10, None, None)
    rest["eval_every"] = 6
    plan = plan_of(data(), 30, 10, 3, **rest, **nothing | {"evaluate": measure})
    assert plan == Plan(30, 3, 10, 6, None)


@pytest.mark.parametrize(
    "every, made, count, wanted",
    [
        (None, 6, 1, False),
        (3, 6, 1, True),
        (3, 7, 1, False),
        (6, 12, 4, True),  # the last of 12, which is one of the last four
        (6, 11, 4, False),
        (10, 12, 4, True),
    ],
)
def test_what_is_due_is_what_the_last_call_completed(every, made, count, wanted):
    assert due(every, made, count) is wanted
