"""Run Python in a process of its own, as a user has it: x64 off, promotion standard."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Programs compiled without effort take about half as long, and round a little differently.
QUICK = {"XLA_FLAGS": "--xla_backend_optimization_level=0"}


def run(*command, root=ROOT, env=None, **kwargs):
    """Run `python *command` in `root`, and return what `subprocess.run` does.

    Nothing that the tests set for themselves goes there, but for where compiled programs
    are kept.
    """
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("JAX_", "PYTEST_"))
        or name.startswith(("JAX_COMPILATION_CACHE", "JAX_PERSISTENT_CACHE"))
    }
    ours = {"JAX_PLATFORMS": "cpu", "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(root)}
    return subprocess.run(
        [sys.executable, *command],
        cwd=root,
        env=clean | ours | (env or {}),
        text=True,
        capture_output=True,
        **kwargs,
    )
