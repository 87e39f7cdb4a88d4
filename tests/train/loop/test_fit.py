"""What a run does besides stepping: go on, stop, tell what is wrong, write and draw."""

import json
import os
import signal
import struct
from itertools import islice

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import layers, losses, optim, train

KEY = jax.random.key(0)
MODEL = layers.Serial(
    body=layers.Serial(layers.Dense(8), layers.Tanh(), layers.Dropout(0.2)),
    head=layers.Dense(3),
)


def loss(params, batch, key):
    x, labels = batch
    return losses.softmax_cross_entropy(MODEL.apply(params, x, key=key), labels)


def start():
    return train.init(KEY, MODEL, optim.adam(0.05), (1, 4))


def arrays(n=48):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 4)).astype(np.float32)
    return x, (x @ rng.standard_normal((4, 3))).argmax(-1)


def data(epochs=None):
    return train.batches(arrays(), 8, key=jax.random.key(1), epochs=epochs)


def measure(params):
    x, labels = arrays()
    logits = MODEL.apply(params, x)
    return {"loss": losses.softmax_cross_entropy(logits, labels)}


STEP = train.make_step(loss, optim.adam(0.05))


def same(a, b):
    def equal(x, y):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))

    jax.tree.map(equal, a, b)


class Watched:
    """Data that does something just before it gives batch `at`."""

    def __init__(self, at, act):
        self._data, self._at, self._act, self._given = data(), at, act, 0

    def __iter__(self):
        return self

    def __next__(self):
        if self._given == self._at:
            self._act()
        self._given += 1
        return next(self._data)

    def get_state(self):
        return self._data.get_state()

    def set_state(self, state):
        self._data.set_state(state)


def fail():
    raise RuntimeError("planted")


@pytest.fixture
def signals():
    """Signals as a program in a terminal has them: a job in the background has not."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, usual[number]) for number in usual}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


# Going on


def test_a_run_that_died_ends_with_the_same_bits(tmp_path):
    want, whole = train.fit(STEP, start(), data(), steps=20, evaluate=measure, eval_every=5)
    with train.Checkpoints(tmp_path) as checkpoints, pytest.raises(RuntimeError):
        train.fit(
            STEP, start(), Watched(13, fail), steps=20, evaluate=measure, eval_every=5,
            checkpoints=checkpoints, checkpoint_every=4,
        )  # fmt: skip
    with train.Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest() == 12
        got, history = train.fit(
            STEP, start(), data(), steps=20, evaluate=measure, eval_every=5,
            checkpoints=checkpoints, checkpoint_every=4,
        )  # fmt: skip
        assert checkpoints.latest() == 20
    same(got, want)
    assert history.step.tolist() == list(range(13, 21))
    np.testing.assert_array_equal(history.metrics["loss"], whole.metrics["loss"][12:])
    assert history.eval_step.tolist() == whole.eval_step.tolist() == [5, 10, 15, 20]
    np.testing.assert_array_equal(history.eval_metrics["loss"], whole.eval_metrics["loss"])


def test_a_finished_run_takes_no_more_steps(tmp_path):
    with train.Checkpoints(tmp_path) as checkpoints:
        want, _ = train.fit(STEP, start(), data(), steps=5, checkpoints=checkpoints)
        got, history = train.fit(
            STEP, start(), Watched(0, fail), steps=5, checkpoints=checkpoints
        )
    same(got, want)
    assert not history.step.size


def test_checkpoints_of_another_model_are_refused(tmp_path):
    with train.Checkpoints(tmp_path) as checkpoints:
        train.fit(STEP, start(), data(), steps=2, checkpoints=checkpoints)
        other = train.init(KEY, layers.Dense(5), optim.adam(0.05), (1, 4))
        with pytest.raises(ValueError, match="to hold what like does") as raised:
            train.fit(STEP, other, data(), steps=4, checkpoints=checkpoints)
    assert "a new run needs a new place" in raised.value.__notes__[-1]


def test_data_without_a_state_is_warned_of(tmp_path):
    def plain():
        yield from islice(data(), 10)

    with train.Checkpoints(tmp_path) as checkpoints:
        train.fit(STEP, start(), plain(), steps=4, checkpoints=checkpoints)
        with pytest.warns(UserWarning, match="data that has no get_state"):
            state, _ = train.fit(STEP, start(), plain(), steps=6, checkpoints=checkpoints)
    assert state.step == 6


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_saves_and_goes_on(tmp_path, number, signals):
    want, _ = train.fit(STEP, start(), data(), steps=9)
    ask = Watched(5, lambda: os.kill(os.getpid(), number))
    before = signal.getsignal(number)
    with train.Checkpoints(tmp_path) as checkpoints:
        message = r"asked to stop, and did after step 6\. It is saved in .*\.$"
        with pytest.raises(train.Interrupted, match=message) as raised:
            train.fit(
                STEP, start(), ask, steps=9, evaluate=measure, checkpoints=checkpoints
            )
        assert raised.value.state.step == checkpoints.latest() == 6
        assert raised.value.history.stopped == "interrupted"
        assert not raised.value.history.eval_step.size
        got, history = train.fit(STEP, start(), data(), steps=9, checkpoints=checkpoints)
    same(got, want)
    assert history.stopped == "steps"
    assert signal.getsignal(number) is before


def test_an_interrupted_run_without_checkpoints_hands_its_state_over(signals):
    want, _ = train.fit(STEP, start(), data(), steps=3)
    ask = Watched(2, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(
        KeyboardInterrupt, match=r"after step 3\. This error has it"
    ) as raised:
        train.fit(STEP, start(), ask, steps=9)
    same(raised.value.state, want)


def test_a_second_interrupt_is_obeyed(signals):
    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as raised:
        train.fit(STEP, start(), Watched(2, twice), steps=9)
    assert not isinstance(raised.value, train.Interrupted)


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


# Stopping early


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


# The guard


def planted(at):
    for i, (x, labels) in enumerate(data()):
        yield (np.where(i == at, np.float32(np.inf), x), labels)


def test_the_guard_names_the_step_and_what_is_not_finite(tmp_path):
    want, _ = train.fit(STEP, start(), data(), steps=37)
    with train.Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(train.NonFiniteError, match=r"in step 38: .*batch") as raised:
            train.fit(
                STEP, start(), planted(37), steps=60, log_every=3,
                checkpoints=checkpoints, checkpoint_every=10,
            )  # fmt: skip
        assert checkpoints.latest() == 30
    same(raised.value.state, want)


def test_the_guard_names_the_layer():
    def overflowing(params, batch, key):
        x, _ = batch
        y = layers.Serial(up=layers.Lambda(lambda x: jnp.exp(200 * x))).apply({"up": {}}, x)
        return loss(params, batch, key) + y.mean()

    step = train.make_step(overflowing, optim.sgd(0.1))
    state = train.init(KEY, MODEL, optim.sgd(0.1), (1, 4))
    with pytest.raises(train.NonFiniteError, match="'up'"):
        train.fit(step, state, data(), steps=5)


def test_the_guard_lets_updates_be_skipped():
    def overflowing(params, batch, key):
        return loss(params, batch, key) * 1e30

    optimizer = train.dynamic_loss_scale(optim.sgd(1e-30), initial=2.0**40)
    step = train.make_step(overflowing, optimizer)
    state = train.init(KEY, MODEL, optimizer, (1, 4))
    state, history = train.fit(step, state, data(), steps=6)
    assert state.opt_state.skipped >= 1
    assert not np.isfinite(history.metrics["grad_norm"]).all()


def test_params_gone_bad_in_the_last_step_are_found():
    def update(grads, state, params=None):
        nan = jnp.where(state == 3, jnp.nan, 0.0)
        return jax.tree.map(lambda g: g * 0 + nan.astype(g.dtype), grads), state + 1

    optimizer = optim.Optimizer(lambda params: jnp.zeros((), jnp.int32), update)
    state = train.init(KEY, MODEL, optimizer, (1, 4))
    step = train.make_step(loss, optimizer)
    with pytest.raises(train.NonFiniteError, match="params that are not finite in step 4"):
        train.fit(step, state, data(), steps=4)
    bad, _ = train.fit(step, state, data(), steps=4, guard=False)
    with pytest.raises(train.NonFiniteError, match="params that are finite to start"):
        train.fit(step, bad, data(), steps=4)


# Several steps in a call, layouts


@pytest.mark.parametrize("steps", [12, 11])
def test_several_steps_a_call(steps):
    want, before = train.fit(
        STEP, start(), data(), steps=steps, evaluate=measure, eval_every=8
    )
    got, history = train.fit(
        STEP, start(), data(), steps=steps, evaluate=measure, eval_every=8, steps_per_call=4
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        got.params,
        want.params,
    )
    np.testing.assert_array_equal(history.step, before.step)
    np.testing.assert_array_equal(history.eval_step, before.eval_step)
    np.testing.assert_allclose(history.metrics["loss"], before.metrics["loss"], rtol=1e-5)


def test_a_layout(tmp_path):
    state = start()
    layout = train.shard(state, jax.make_mesh((1,), ("data",)))
    want, _ = train.fit(STEP, state, data(), steps=7)
    with train.Checkpoints(tmp_path) as checkpoints:
        train.fit(STEP, state, data(), steps=4, checkpoints=checkpoints, layout=layout)
        got, _ = train.fit(
            STEP, state, data(), steps=7, checkpoints=checkpoints, layout=layout
        )
    assert got.params["head"]["weight"].sharding.mesh.axis_names == ("data",)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), got.params, want.params
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps_per_call": 0}, "steps_per_call of at least 1; got 0"),
        (
            {"steps_per_call": 4, "evaluate": measure, "eval_every": 6},
            "eval_every to be a multiple of steps_per_call, 4; got 6",
        ),
        ({"checkpoint_every": 5}, "needs checkpoints for checkpoint_every; got 5"),
        ({"stopping": train.EarlyStopping()}, "needs evaluate for stopping"),
    ],
)
def test_fit_needs_sense(options, message):
    with pytest.raises(ValueError, match=message):
        train.fit(STEP, start(), data(), steps=1, **options)


# Logs and pictures


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_json_log(tmp_path):
    path = tmp_path / "runs" / "log.jsonl"
    options = {"evaluate": measure, "eval_every": 4, "logs": train.JSONLog(path)}
    _, history = train.fit(STEP, start(), data(), steps=6, **options)
    found = lines(path)
    steps = [line for line in found if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose([line["loss"] for line in steps], history.metrics["loss"])
    assert [line["step"] for line in found if "eval_loss" in line] == [4, 6]


def test_json_log_goes_on(tmp_path):
    path = tmp_path / "log.jsonl"
    with train.Checkpoints(tmp_path / "run") as checkpoints:
        options = {"checkpoints": checkpoints, "logs": [train.JSONLog(path)]}
        train.fit(STEP, start(), data(), steps=4, **options)
        with path.open("a") as file:  # what a killed run leaves
            file.write('{"step": 5, "loss": 1.0}\n{"step": 6, "lo')
        train.fit(STEP, start(), data(), steps=7, **options)
    assert [line["step"] for line in lines(path)] == list(range(1, 8))


def test_json_log_has_no_nan(tmp_path):
    log = train.JSONLog(tmp_path / "log.jsonl")
    log.start(0)
    log.write(1, {"a": np.float32("nan"), "b": np.array([1.0, np.inf]), "c": np.int32(3)})
    log.flush()
    assert lines(log.path) == [{"step": 1, "a": None, "b": [1.0, None], "c": 3}]


def test_tensorboard_log(tmp_path):
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event

    log = train.TensorBoardLog(tmp_path)
    _, history = train.fit(STEP, start(), data(), steps=3, logs=log, evaluate=measure)
    found = {}
    for file in tmp_path.iterdir():
        raw = file.read_bytes()
        while raw:  # length, its checksum, the event, its checksum
            (size,) = struct.unpack("<Q", raw[:8])
            event = Event.FromString(raw[12 : 12 + size])
            raw = raw[16 + size :]
            for value in event.summary.value:
                found[value.tag, event.step] = value.simple_value
    np.testing.assert_allclose(
        [found["loss", step] for step in (1, 2, 3)], history.metrics["loss"], rtol=1e-6
    )
    assert ("eval_loss", 3) in found


def test_history_plots(tmp_path):
    _, history = train.fit(STEP, start(), data(), steps=6, evaluate=measure, eval_every=2)
    figure = history.plot()
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "grad_norm"]
    assert len(figure.axes[0].lines) == 2
    figure.savefig(tmp_path / "history.png")
    assert len(history.plot("grad_norm").axes) == 1
    with pytest.raises(ValueError, match="plot has loss, grad_norm; got 'accuracy'"):
        history.plot("accuracy")
