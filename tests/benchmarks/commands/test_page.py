"""`python -m benchmarks page` puts results into the documentation."""

import os
import shutil
from pathlib import Path

import jax
import pytest

from benchmarks import __main__ as command
from benchmarks import results
from benchmarks.results import Run
from tests.support.benchmark_rows import COSTS, STEPS, row

ROOT = Path(__file__).parents[3]


def test_results_are_put_into_the_page(tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="the picture is drawn by matplotlib")
    shutil.copy(ROOT / "docs/benchmarks.md", tmp_path)
    page = tmp_path / "benchmarks.md"
    before = page.read_text().partition("<!-- what follows")[0].rstrip()
    about = results.here()
    results.write(tmp_path / "ops.json", Run((row(), row(kind="filter")), about))
    results.write(tmp_path / "steps.json", Run(tuple(STEPS), about, tuple(COSTS)))
    files = [str(tmp_path / name) for name in ("ops.json", "steps.json")]
    for _ in range(2):  # the second time the results are replaced
        assert command.main(["page", *files, "--docs", str(tmp_path)]) == 0
    text = page.read_text()
    assert text.startswith(before)
    assert text.count("## Results") == 1
    assert f"with jax {jax.__version__}, on {os.cpu_count()} cores" in text
    assert "| mlp | 1.00 haiku | 0.50 |" in text
    assert (tmp_path / "benchmarks.png").read_bytes().startswith(b"\x89PNG")
    assert command.main(["page", *files, "--docs", str(tmp_path / "none")]) == 2
    assert "there is no page" in capsys.readouterr().err
