"""What a process leaves that was killed, or whose disk failed, is whole."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import killed_runs
from tests.support.train_runs import as_a_user_has_it

pytest.importorskip("orbax.checkpoint", reason="it writes checkpoints: funcnn[train]")
ROOT = Path(__file__).parents[3]


def test_a_disk_that_fails_is_told_by_the_next_call(tmp_path):
    """And the checkpoints before it, as well as those after it, are whole.

    Of a directory that is gone it is told, too, and no thread of Orbax's is left waiting.
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.support.failing_disk", tmp_path],
        env=os.environ | {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1"},
        capture_output=True, text=True, cwd=ROOT, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = done.stdout
    assert told.startswith(f"Checkpoints could not save step 2 in {tmp_path / 'run'}: ")
    assert told.endswith(" There is none before it.\n")


@pytest.mark.parametrize(
    "kills, steps", [(2, 90), pytest.param(20, 300, marks=pytest.mark.exhaustive)]
)
def test_killed_runs_go_on_with_the_same_bits(kills, steps, capsys):
    """Every other kill is inside a save, the first one is."""
    with as_a_user_has_it():
        hits = killed_runs.kill(kills, steps, seed=0)
    assert 1 <= hits <= kills, capsys.readouterr().out
