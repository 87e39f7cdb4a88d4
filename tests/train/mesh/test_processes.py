"""A run of several processes, its checkpoints, and going on in another number of them."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "support/process_run.py"


def run(processes, steps, folder):
    """Return the losses that the first process prints."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = [
        subprocess.Popen(
            [sys.executable, SCRIPT, *map(str, (i, processes, port, steps, folder))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(processes)
    ]
    try:
        said = [p.communicate(timeout=300) for p in started]
    finally:
        for p in started:
            p.kill()
            p.wait()
    assert not any(p.returncode for p in started), said
    return json.loads(said[0][0].splitlines()[-1])


def test_going_on_in_another_number_of_processes(tmp_path):
    pytest.importorskip("orbax.checkpoint")
    want = run(1, 6, tmp_path / "whole")
    got = run(2, 3, tmp_path / "parts") + run(1, 6, tmp_path / "parts")
    np.testing.assert_allclose(got, want, rtol=1e-5)
