"""`fit` is the loop that one would write by hand, with what it promises besides."""

import gc
import weakref

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import optim, train
from tests.support.train_runs import (
    KEY,
    MODEL,
    OPTIMIZER,
    STEP,
    Watched,
    arrays,
    assert_same,
    data,
    fail,
    loss,
    measure,
    numbers,
    start,
)


def fit(steps=25, state=None, batches=None, **arguments):
    arguments.setdefault("progress", False)
    return train.fit(STEP, state or start(), batches or data(), steps=steps, **arguments)


@pytest.fixture(scope="module")
def by_hand():
    """The states and the metrics of 25 steps."""
    step, state, batches = jax.jit(STEP), start(), data()
    states, rows = [state], []
    for _ in range(25):
        state, metrics = step(state, next(batches))
        states.append(state)
        rows.append(metrics)
    return states, rows


@pytest.mark.parametrize("log_every", [1, 3, 10, 100])
def test_fit_is_the_loop_by_hand(by_hand, log_every):
    state, history = fit(log_every=log_every)
    states, rows = by_hand
    assert_same(state, states[25])
    assert history.step.tolist() == list(range(1, 26))
    assert sorted(history.metrics) == ["grad_norm", "learning_rate", "loss"]
    for name, values in history.metrics.items():
        assert type(values) is np.ndarray
        np.testing.assert_array_equal(values, [row[name] for row in rows])
    assert history.eval_step.tolist() == []
    assert history.eval_metrics == {}


def test_fit_learns():
    x, labels = arrays()

    def accuracy(params):
        return {"accuracy": (MODEL.apply(params, x).argmax(-1) == labels).mean()}

    _, history = fit(200, evaluate=accuracy)
    assert history.eval_metrics["accuracy"][-1] > 0.95
    assert history.metrics["loss"][-1] < history.metrics["loss"][0] / 2


def test_fit_leaves_the_first_state_usable():
    state = start()
    before = numbers(state)
    fit(3, state)
    fit(3, state)
    assert_same(state, before)


def test_fit_keeps_no_state_that_its_caller_let_go_of():
    seen = []

    def given():
        state = start()
        seen.append(weakref.ref(state.params["head"]["weight"]))
        return state

    def look():
        gc.collect()
        seen.append(seen[0]() is None)

    train.fit(STEP, given(), Watched(0, look), steps=2)
    assert seen[1:] == [True]


def test_fit_takes_aliased_states():
    """Two leaves that share one buffer cannot both be donated."""
    w = jnp.ones(3)
    optimizer = optim.sgd(0.1)
    params = {"a": w, "b": w}
    state = train.TrainState(jnp.asarray(0), params, optimizer.init(params), KEY)
    step = train.make_step(lambda p, *_: jnp.sum(p["a"] * p["b"]), optimizer)
    state, _ = train.fit(step, state, [0.0, 0.0], progress=False)
    np.testing.assert_allclose(state.params["a"], 0.81)


def test_fit_takes_steps_that_return_their_state_as_metrics():
    def step(state, batch):
        state = state._replace(step=state.step + 1, params=state.params + batch)
        return state, {"step": state.step, "params": state.params}

    state = train.TrainState(jnp.asarray(0), jnp.zeros(2), (), KEY)
    state, history = train.fit(step, state, np.ones((9, 2)), progress=False)
    assert history.metrics["step"].tolist() == history.step.tolist()
    np.testing.assert_array_equal(history.metrics["params"][:, 0], history.step)


def test_fit_goes_on_where_it_stopped(by_hand):
    batches = data()
    state, early = fit(10, batches=batches)
    state, late = fit(15, state, batches=batches)
    states, rows = by_hand
    assert_same(state, states[25])
    assert late.step.tolist() == list(range(11, 26))
    losses = np.concatenate([early.metrics["loss"], late.metrics["loss"]])
    np.testing.assert_array_equal(losses, [row["loss"] for row in rows])


def test_fit_compiles_once_also_when_called_again():
    step = train.make_step(chex.assert_max_traces(loss, n=1), OPTIMIZER)
    batches = data()
    state, _ = train.fit(step, start(), batches, steps=12, progress=False)
    train.fit(step, state, batches, steps=12, progress=False)


def test_fit_takes_no_more_batches_than_steps():
    batches = data(epochs=2)
    fit(7, batches=batches)
    assert len(list(batches)) == 5


def test_fit_until_the_data_ends():
    state, history = fit(None, batches=data(epochs=2))
    assert state.step == len(history.step) == 12
    assert history.stopped == "data"


def test_fit_stops_with_a_warning_where_data_ends_before_steps():
    message = r"^fit took 12 of 25 steps: the data ended.$"
    with pytest.warns(UserWarning, match=message) as warned:
        state, history = train.fit(STEP, start(), data(epochs=2), steps=25)
    assert warned[0].filename == __file__
    assert state.step == len(history.step) == 12
    assert history.stopped == "data"


def test_fit_without_steps():
    state, history = fit(0)
    assert state.step == 0
    assert history.step.shape == history.eval_step.shape == (0,)
    assert history.metrics == {}


def test_fit_fetches_rarely(monkeypatch):
    fetched = []
    device_get = jax.device_get
    monkeypatch.setattr(
        jax, "device_get", lambda a: fetched.append(len(a)) or device_get(a)
    )
    fit(45, log_every=10)
    assert fetched == [10, 10, 10, 15]


@pytest.mark.parametrize(
    "eval_every, steps, want",
    [(None, 25, [25]), (10, 25, [10, 20, 25]), (5, 10, [5, 10]), (5, 0, [0])],
)
def test_fit_evaluates(eval_every, steps, want):
    seen = []

    def evaluate(params):
        bias = params["head"]["bias"]
        seen.append(np.array(bias))
        return {"sum": bias.sum(), "bias": bias}

    state, history = fit(steps, evaluate=evaluate, eval_every=eval_every)
    assert history.eval_step.tolist() == want
    np.testing.assert_array_equal(history.eval_metrics["bias"], seen)
    np.testing.assert_allclose(
        history.eval_metrics["sum"], np.sum(seen, -1), rtol=1e-6, atol=1e-7
    )
    np.testing.assert_array_equal(seen[-1], state.params["head"]["bias"])


class Told:
    """A log, and a place for checkpoints, that notes what is asked of it, and when."""

    metric = None
    directory = "nowhere"

    def __init__(self, latest=None):
        self.notes, self._latest = [], latest

    def start(self, step):
        self.notes.append(f"log from {step}")

    def write(self, step, metrics):
        self.notes.append(f"{'measured' if 'eval_loss' in metrics else 'step'} {step}")

    def flush(self):
        self.notes.append("flush")

    def close(self):
        self.notes.append("close")

    def latest(self):
        return self._latest

    def save(self, state, position, numbers):
        place = position.get_state()["data"]["batches"]
        known = "" if numbers is None else ", measured"
        self.notes.append(f"save {int(state.step)} at batch {place}{known}")

    def wait(self):
        self.notes.append("wait")


def test_what_is_written_comes_in_order():
    """All that led to a checkpoint is fetched, looked at and written before it is saved."""
    told = Told()
    fit(
        7, evaluate=measure, eval_every=4, checkpoints=told, checkpoint_every=3,
        logs=told, log_every=1,
    )  # fmt: skip
    assert " | ".join(told.notes).replace(" | flush", "") == (
        "log from 0 | step 1 | step 2 | step 3 | save 3 at batch 3 | step 4 | measured 4 | "
        "save 4 at batch 4, measured | step 5 | step 6 | save 6 at batch 6 | step 7 | "
        "measured 7 | save 7 at batch 7, measured | wait | close"
    )
    saves = [i for i, note in enumerate(told.notes) if note.startswith("save")]
    assert {told.notes[i - 1] for i in saves} == {"flush"}


def test_logs_are_closed_where_a_run_fails():
    told = Told()
    with pytest.raises(RuntimeError, match="planted"):
        train.fit(STEP, start(), Watched(3, fail), steps=9, logs=[told])
    assert told.notes[-1] == "close"
