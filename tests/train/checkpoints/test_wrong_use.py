"""Checkpoints of another model, wrong arguments and places: each is told exactly."""

import re
import sys

import jax
import jax.numpy as jnp
import pytest

from funcnn import optim, train
from tests.support.saved_states import (
    KEY,
    at,
    batches,
    exactly,
    start,
)

pytest.importorskip("orbax.checkpoint", reason="it writes checkpoints: funcnn[train]")

# TensorStore tells an event loop of all that failed, which Orbax closes at the first.
pytestmark = pytest.mark.filterwarnings(
    "ignore:(?s)Exception ignored in. None.*Event loop is closed:"
    "pytest.PytestUnraisableExceptionWarning"
)


def test_a_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=rf"^Checkpoints cannot make {tmp_path}/file/run: .*"):
        train.Checkpoints(tmp_path / "file/run")


@pytest.mark.parametrize(
    "other, message",
    [
        (
            lambda: start(9),
            "params.head.weight is float32 of shape (8, 3) there and float32 of shape "
            "(9, 3) in like; params.stem.bias is float32 of shape (8,) there and float32 "
            "of shape (9,) in like; params.stem.weight is float32 of shape (6, 8) there "
            "and float32 of shape (6, 9) in like; and 6 more.",
        ),
        (
            lambda: start(optimizer=optim.sgd(0.1)),
            "opt_state.mu.head.bias is float32 of shape (3,) there and missing in like; "
            "opt_state.mu.head.weight is float32 of shape (8, 3) there and missing in ",
        ),
        (
            lambda: start()._replace(params={"a": jnp.ones(3)}),
            "params.a is missing there and float64 of shape (3,) in like; ",
        ),
        (
            lambda: start()._replace(step=jnp.int64(1)),
            "step is int32 of shape () there and int64 of shape () in like.",
        ),
        (
            lambda: start()._replace(key=jax.random.key(0, impl="rbg")),
            "key is key<fry> of shape () there and key<rbg> of shape () in like.",
        ),
    ],
)
def test_a_checkpoint_of_another_model(tmp_path, other, message):
    data = batches()
    with train.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(at(1), data)
        next(data)
        start_of_message = (
            f"Checkpoints.restore needs step 1 in {tmp_path} to hold what like does; "
        )
        with pytest.raises(ValueError, match=f"^{re.escape(start_of_message + message)}"):
            checkpoints.restore(jax.eval_shape(other), data)
    assert data.get_state()["batches"] == 1


def test_no_checkpoint_at_all(tmp_path):
    with train.Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(
            FileNotFoundError, match=exactly(f"Checkpoints finds none in {tmp_path}.")
        ):
            checkpoints.restore(start())
        checkpoints.save(at(1))
        with pytest.raises(
            FileNotFoundError,
            match=exactly(f"Checkpoints finds no step 2 in {tmp_path}; got [1]."),
        ):
            checkpoints.restore(start(), step=2)


class Odd:
    """Data whose state does not fit into JSON."""

    def get_state(self):
        return {"place": b"1"}


@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda c: c.save(at(1), Odd()),
            TypeError,
            "Checkpoints.save needs a state of data that fits into JSON; "
            "Object of type bytes is not JSON serializable.",
        ),
        (
            lambda c: c.save(at(1), []),
            TypeError,
            "Checkpoints.save needs data with get_state; got list.",
        ),
        (
            lambda c: c.save(at(1), metrics={"accuracy": 1.0}),
            ValueError,
            "Checkpoints.save needs metrics with 'loss', the best's; got ['accuracy'].",
        ),
        (
            lambda c: c.save(at(1)._replace(params={"a.b": KEY, "a": {"b": KEY}})),
            ValueError,
            "Checkpoints.save needs leaves of different names; got two params.a.b.",
        ),
        (
            lambda c: (c.save(at(1)), c.restore(at(1), batches())),
            ValueError,
            "Checkpoints.restore needs data in step 1 in {}; got none.",
        ),
        (
            lambda c: train.Checkpoints("none", keep=0),
            ValueError,
            "Checkpoints needs keep of at least 1; got 0.",
        ),
        (
            lambda c: train.Checkpoints("none", mode="best"),
            ValueError,
            "Checkpoints needs mode 'min' or 'max'; got 'best'.",
        ),
    ],
)
def test_wrong_use(tmp_path, call, error, message):
    checkpoints = train.Checkpoints(tmp_path, best="loss")
    with pytest.raises(error, match=exactly(message.format(tmp_path))):
        call(checkpoints)
    checkpoints.close()


def test_metrics_of_several_numbers(tmp_path):
    checkpoints = train.Checkpoints(tmp_path)
    with pytest.raises(TypeError, match=r"^Checkpoints.save needs metrics of numbers; "):
        checkpoints.save(at(1), metrics={"loss": jnp.ones(3)})
    checkpoints.close()


def test_without_orbax(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    with pytest.raises(
        ImportError, match=exactly("Checkpoints needs Orbax: pip install 'funcnn[train]'.")
    ):
        train.Checkpoints(tmp_path)
