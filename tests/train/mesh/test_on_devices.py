"""On eight devices all is as on one, by the exchanges that it needs and no others."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from funcnn import train
from tests.support.on_devices import checkpoints, checks
from tests.support.train_runs import as_a_user_has_it, numbers

pytest.importorskip("orbax.checkpoint", reason="it writes checkpoints: funcnn[train]")
ROOT = Path(__file__).parents[3]


def found_in(folder, *options):
    """What each check says, all of them made in one process."""
    with as_a_user_has_it(), train.Checkpoints(folder / checkpoints.FROM_ONE) as saved:
        saved.save(checkpoints.made())
    command = ["-W", "error", "-m", "tests.support.on_devices", folder, *options]
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True, text=True, cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = map(json.loads, done.stdout.splitlines())
    return {line["check"]: line["wrong"] for line in lines}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("eight")


@pytest.fixture(scope="module")
def found(folder):
    return found_in(folder)


@pytest.mark.parametrize("check", checks())
def test_on_eight_devices(found, check):
    assert found[check] is None, found[check]


def test_what_eight_devices_saved_is_restored_on_one(found, folder):
    with as_a_user_has_it(), train.Checkpoints(folder / checkpoints.FROM_EIGHT) as saved:
        want = checkpoints.made()
        for like in (want, jax.eval_shape(checkpoints.made)):
            back = saved.restore(like)
            jax.tree.map(np.testing.assert_array_equal, numbers(back), numbers(want))


@pytest.mark.exhaustive
def test_on_eight_devices_thoroughly(tmp_path):
    found = found_in(tmp_path, "--thorough")
    assert found == dict.fromkeys(checks()), [*found.values()]
