"""Two processes are as one, and what they saved another number of them goes on from."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support import process_run
from tests.support.train_runs import as_a_user_has_it

ROOT = Path(__file__).parents[3]
QUICKLY = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}


def two_processes(steps, folder, layouts):
    """Return the losses that the first process prints."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-W", "error", "-m", "tests.support.process_run"]
    started = [
        subprocess.Popen(
            [*command, *map(str, (i, port, steps, folder, layouts))],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
            env=os.environ | QUICKLY | {"PYTHONPATH": str(ROOT)},
        )
        for i in range(2)
    ]  # fmt: skip
    try:
        said = [p.communicate(timeout=300) for p in started]
    finally:
        for p in started:
            p.kill()
            p.wait()
    assert not any(p.returncode for p in started), said
    return json.loads(said[0][0].splitlines()[-1])


@pytest.mark.parametrize(
    "layouts", [1, pytest.param(len(process_run.LAYOUTS), marks=pytest.mark.exhaustive)]
)
def test_two_processes_are_as_one_which_goes_on_from_what_they_saved(tmp_path, layouts):
    pytest.importorskip("orbax.checkpoint")
    got = two_processes(3, tmp_path / "parts", layouts)
    with as_a_user_has_it():
        want = process_run.losses(6, tmp_path / "whole")
        got += process_run.losses(6, tmp_path / "parts")
    np.testing.assert_allclose(got, want, rtol=1e-5)
