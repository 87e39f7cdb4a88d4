"""Metrics are written to files as they come, once each, whoever was killed in between."""

import json
import struct

import numpy as np
import pytest

from funcnn import train
from tests.support.train_runs import STEP, data, measure, start


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
