"""Metrics are written to files as they come, once each, whoever was killed in between."""

import json
import struct

import numpy as np
import pytest

from funcnn import train
from tests.support.train_runs import STEP, Watched, data, fail, measure, start


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


class Broken(train.JSONLog):
    """A log whose disk is full."""

    def write(self, step, metrics):
        raise OSError("full")


def broken_evaluation(params):
    raise RuntimeError("planted")


@pytest.mark.parametrize(
    "batches, options, error, count",
    [
        (lambda: Watched(7, fail), {}, "planted", 7),
        (lambda: Watched(7, fail), {"steps_per_call": 2}, "planted", 6),
        (data, {"evaluate": broken_evaluation, "eval_every": 4}, "planted", 4),
        (data, {"logs": "a broken one"}, "full", 10),
    ],
    ids=["data", "data, calls of two", "evaluation", "another log"],
)
def test_all_that_was_measured_is_written(tmp_path, batches, options, error, count):
    """Whatever ends a run, though metrics are fetched ten steps late."""
    log, broken = train.JSONLog(tmp_path / "log"), Broken(tmp_path / "broken")
    logs = [broken, log] if "logs" in options else [log]
    with pytest.raises((OSError, RuntimeError), match=error):
        train.fit(STEP, start(), batches(), steps=12, **options | {"logs": logs})
    steps = [line["step"] for line in lines(log.path)]
    assert steps[:count] == list(range(1, count + 1))
    assert len(steps) == (12 if "logs" in options else count)


def test_what_cannot_be_written_hides_no_error(tmp_path):
    with pytest.raises(RuntimeError, match="planted") as caught:
        train.fit(STEP, start(), Watched(3, fail), steps=9, logs=Broken(tmp_path / "log"))
    assert caught.value.__notes__ == [
        "The last metrics of the run could not be written: full"
    ]


def test_a_log_that_cannot_start_leaves_none_open(tmp_path):
    closed = []

    class Noted(train.JSONLog):
        def close(self):
            closed.append(self.path.name)

    (tmp_path / "file").touch()
    logs = [Noted(tmp_path / "log"), train.JSONLog(tmp_path / "file" / "log")]
    with pytest.raises(OSError, match="file"):
        train.fit(STEP, start(), data(), steps=2, logs=logs)
    assert closed == ["log"]


def test_tensorboard_log(tmp_path):
    log = pytest.importorskip("tensorboardX") and train.TensorBoardLog(tmp_path)
    _, history = train.fit(STEP, start(), data(), steps=3, logs=log, evaluate=measure)
    found = points(tmp_path)
    np.testing.assert_allclose(
        [found["loss", step] for step in (1, 2, 3)], history.metrics["loss"], rtol=1e-6
    )
    assert ("eval_loss", 3) in found


def test_tensorboard_logs_of_one_second(tmp_path):
    """Each run has a file of its own, and later ones come later by name."""
    pytest.importorskip("tensorboardX")
    names = []
    for i in range(3):
        log = train.TensorBoardLog(tmp_path)
        log.start(i)
        log.write(i + 1, {"loss": float(i)})
        log.close()
        names.append(next(f.name for f in tmp_path.iterdir() if f.name not in names))
    assert points(tmp_path) == {("loss", i + 1): i for i in range(3)}
    assert names == sorted(names)


def points(directory):
    """What event files hold, by name and step."""
    from tensorboardX.proto.event_pb2 import Event

    found = {}
    for file in directory.iterdir():
        raw = file.read_bytes()
        while raw:  # length, its checksum, the event, its checksum
            (size,) = struct.unpack("<Q", raw[:8])
            event = Event.FromString(raw[12 : 12 + size])
            raw = raw[16 + size :]
            for value in event.summary.value:
                found[value.tag, event.step] = value.simple_value
    return found
