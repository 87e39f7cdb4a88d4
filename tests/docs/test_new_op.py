"""One new file in `funcnn/ops` is an op that is proved, tested, listed and documented.

The file is the one printed in docs/adding-an-op.md, dropped into a copy of the project.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/adding-an-op.md").read_text()
SOURCE = next(b for b in re.findall(r"^```python\n(.*?)^```$", PAGE, re.S | re.M))


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The project with one file more, and no other edit."""
    root = tmp_path_factory.mktemp("project")
    unwanted = shutil.ignore_patterns("__pycache__")
    for folder in ("funcnn", "docs", "tests"):
        shutil.copytree(ROOT / folder, root / folder, ignore=unwanted)
    for name in ("mkdocs.yml", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    (root / "funcnn/ops/_squareplus.py").write_text(SOURCE)
    return root


def run(root, *command):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "PYTEST_"))}
    env = {"PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu", "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(
        [sys.executable, *command],
        cwd=root,
        env=clean | env,
        text=True,
        capture_output=True,
    )


def test_the_page_prints_a_whole_op():
    assert SOURCE.startswith('r"""Squareplus')
    for part in ("fwd", "bwd", "reference", "cases"):
        assert f"def squareplus_{part}(" in SOURCE
    assert not (ROOT / "funcnn/ops/_squareplus.py").exists()


def test_it_is_discovered(copy):
    program = (
        "import funcnn; print(funcnn.__file__); from funcnn import verify\n"
        "print([op.name for op in verify.discover()])"
    )
    result = run(copy, "-c", program)
    where, names = result.stdout.splitlines()
    assert where == str(copy / "funcnn/__init__.py")
    assert "'squareplus'" in names


def test_it_is_proved(copy):
    result = run(copy, "-m", "funcnn.verify", "squareplus")
    assert result.returncode == 0, result.stdout + result.stderr
    (row,) = re.findall(r"^squareplus .*$", result.stdout, re.M)
    assert "FAIL" not in row
    assert "all hold" in result.stdout


def test_it_is_tested(copy):
    """By the tests of all ops, planted faults among them."""
    result = run(copy, "-m", "pytest", "-v", "-k", "squareplus", "tests/ops/test_ops.py")
    assert result.returncode == 0, result.stdout + result.stderr
    passed = re.findall(r"::(test_.*\S) +PASSED", result.stdout)
    for case in ("matrix", "large", "at 0", "scalar", "empty"):
        assert f"test_every_claim_holds[squareplus: {case}]" in passed
    assert any("fault" in name for name in passed)


def test_it_is_documented(copy):
    for module in ("mkdocs", "material", "latex2mathml"):
        pytest.importorskip(module, reason=f"the site is built with {module}: funcnn[docs]")
    result = run(copy, "-m", "mkdocs", "build", "--strict")
    assert result.returncode == 0, result.stderr
    page = (copy / "site/ops/squareplus/index.html").read_text()
    assert page.count("<math") > 5
    assert "<li>at 0</li>" in page
    index = (copy / "site/ops/index.html").read_text()
    assert index.count('href="squareplus/"') >= 2  # in the table and in the navigation


def test_a_planted_fault_is_caught_and_named(copy, tmp_path):
    shutil.copytree(copy / "funcnn", tmp_path / "funcnn")
    right, wrong = "(1 + square) * dyf", "(1 + square) * 1.01 * dyf"
    assert SOURCE.count(right) == 1
    file = tmp_path / "funcnn/ops/_squareplus.py"
    file.write_text(SOURCE.replace(right, wrong))
    result = run(tmp_path, "-m", "funcnn.verify", "squareplus")
    assert result.returncode == 1, result.stderr
    told = " ".join(result.stdout.split())
    assert "squareplus: the cotangent of x is wrong" in told
    assert "a constant factor of 1.01" in told
    assert re.search(r"^squareplus .*FAIL", result.stdout, re.M)
