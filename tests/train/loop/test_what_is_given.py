"""What people hand to a run that is not quite what it wants."""

import logging
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from funcnn import optim, train
from tests.support.step_runs import dataset, loss, start

ADAM = optim.adam(0.01)


def fit(state, data=None, optimizer=ADAM, **arguments):
    step = train.make_step(loss, optimizer)
    data = [dataset()] * 3 if data is None else data
    return train.fit(step, state, data, progress=False, **arguments)


@pytest.mark.parametrize("given", [tuple, lambda s: s.params, lambda s: s._asdict()])
def test_what_is_no_state_is_told(given):
    state = given(start(ADAM))
    text = "needs a state with step, params, opt_state, key, such as train.init makes; got "
    with pytest.raises(TypeError, match="fit " + text + type(state).__name__):
        fit(state)
    with pytest.raises(TypeError, match="make_step " + text):
        train.make_step(loss, ADAM)(state, dataset())


@pytest.mark.parametrize("optimizer", [optim.sgd(0.1), optim.muon(0.1), optax.adamw(0.1)])
def test_a_state_of_another_optimizer_is_told(optimizer):
    text = "make_step needs the state of its own optimizer, .* got AdamState of another"
    with pytest.raises(TypeError, match=text):
        train.make_step(loss, optimizer)(start(ADAM), dataset())


def test_other_errors_of_an_update_are_their_own():
    def update(grads, state, params=None):
        raise RuntimeError("out of order")

    optimizer = optim.Optimizer(ADAM.init, update)
    with pytest.raises(RuntimeError, match="out of order"):
        train.make_step(loss, optimizer)(start(ADAM), dataset())


def test_batches_without_a_key_are_in_order():
    data = train.batches(np.arange(10), 4, key=None, epochs=2)
    assert [list(b) for b in data] == [[0, 1, 2, 3], [4, 5, 6, 7]] * 2
    again = train.batches(np.arange(10), 4, key=None)
    again.set_state({**data.get_state(), "batches": 1})
    np.testing.assert_array_equal(next(again), [4, 5, 6, 7])


@pytest.mark.parametrize("kind", ["bfloat16", "with a gradient"])
def test_tensors_that_numpy_refuses_are_taken_too(kind):
    torch = pytest.importorskip("torch")
    x = torch.arange(6.0).reshape(3, 2) / 4
    x = x.bfloat16() if kind == "bfloat16" else x.requires_grad_()
    found = [
        next(train.batches({"x": x}, 3, key=None))["x"],
        next(train.prefetch([{"x": x}]))["x"],
    ]
    for a in found:
        assert a.dtype == (jnp.bfloat16 if kind == "bfloat16" else jnp.float32)
        np.testing.assert_array_equal(np.asarray(a, float), np.arange(6).reshape(3, 2) / 4)


def test_tensors_of_pytorch_are_taken():
    torch = pytest.importorskip("torch")
    x, labels = dataset()
    tensors = torch.from_numpy(x), torch.from_numpy(labels)
    state, _ = fit(start(ADAM), [tensors] * 2)
    same, _ = fit(start(ADAM), [(x, labels)] * 2)
    jax.tree.map(np.testing.assert_array_equal, state.params, same.params)


def test_a_home_directory_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with train.Checkpoints("~/runs/one") as checkpoints:
        assert checkpoints.directory == tmp_path / "runs" / "one"
    assert train.JSONLog("~/log.jsonl").path == tmp_path / "log.jsonl"
    assert train.TensorBoardLog("~/board").directory == tmp_path / "board"
    train.save_safetensors("~/w.safetensors", {"w": jnp.ones(2)})
    like = {"w": jnp.zeros(2)}
    np.testing.assert_array_equal(train.load_safetensors("~/w.safetensors", like)["w"], 1)


def test_saves_between_evaluations_make_no_noise(tmp_path, caplog):
    def evaluate(params):
        return {"loss": 1.0}

    with (
        caplog.at_level(logging.WARNING, "absl"),
        train.Checkpoints(tmp_path, keep=9, best="loss", mode="min") as checkpoints,
    ):
        fit(
            start(ADAM), steps=3, evaluate=evaluate, eval_every=3,
            checkpoints=checkpoints, checkpoint_every=1,
        )  # fmt: skip
    assert not [r for r in caplog.records if "metric" in r.getMessage()]


def test_a_finished_run_says_so(tmp_path):
    data = train.batches(dataset(), 16, key=None)
    with train.Checkpoints(tmp_path) as checkpoints:
        fit(start(ADAM), data, steps=2, checkpoints=checkpoints)
        with pytest.warns(UserWarning, match="fit took no step: the checkpoint has all 2"):
            _, history = fit(start(ADAM), data, steps=2, checkpoints=checkpoints)
    assert history.step.size == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(start(ADAM), data, steps=0)  # as it was asked to


def test_stopping_wants_evaluations_on_the_way():
    with pytest.raises(ValueError, match="fit needs eval_every for stopping"):
        fit(
            start(ADAM), steps=3, evaluate=lambda params: {"loss": 1.0},
            stopping=train.EarlyStopping(),
        )  # fmt: skip


@pytest.mark.parametrize(
    "options, what",
    [
        ({"stopping": train.EarlyStopping("accuracy")}, "stopping"),
        ({"checkpoints": "best"}, "checkpoints with best"),
    ],
)
def test_a_metric_that_is_never_measured_is_told_before_the_first_step(
    tmp_path, options, what
):
    def metrics(params, batch):
        return {"loss": jnp.zeros(len(batch[1]))}

    def batches():
        raise AssertionError("a batch was taken")
        yield

    with train.Checkpoints(tmp_path, best="accuracy") as checkpoints:
        if "checkpoints" in options:
            options = {"checkpoints": checkpoints}
        text = f"^fit needs evaluate to measure 'accuracy' for {what}; got loss.$"
        with pytest.raises(ValueError, match=text):
            fit(
                start(ADAM), batches(), steps=9, eval_every=3,
                evaluate=train.evaluator(metrics, dataset()), **options,
            )  # fmt: skip


def test_params_are_no_checkpoint(tmp_path):
    with train.Checkpoints(tmp_path) as checkpoints:
        text = r"^Checkpoints.save needs a state with step, params, .* got dict.$"
        with pytest.raises(TypeError, match=text):
            checkpoints.save({"w": jnp.ones(3)})


def test_a_run_without_end_that_stops_early_says_why():
    _, history = fit(
        start(ADAM), [dataset()] * 9, evaluate=lambda params: {"loss": 1.0}, eval_every=1,
        stopping=train.EarlyStopping(patience=2),
    )  # fmt: skip
    assert history.stopped == "early"


def test_labels_that_lack_a_leaf_name_it():
    params = {"body": {"weight": jnp.ones(2), "bias": jnp.ones(2)}, "head": jnp.ones(2)}
    parted = optim.partition({"a": ADAM}, {"body": "a", "tail": "a"})
    text = (
        r"partition needs labels .*; there is none for \['head'\], and got one for "
        r"\['tail'\], which params have not"
    )
    with pytest.raises(ValueError, match=text):
        parted.init(params)
    masked = optim.masked(ADAM, {"body": {"weight": True}, "head": False})
    with pytest.raises(ValueError, match=r"none for \['body'\]\['bias'\]"):
        masked.init(params)
