"""The project with one op more, and what became of it: built once for all tests here.

The op is the one printed in docs/adding-an-op.md, dropped into a copy of the project.
"""

import json
import shutil
from importlib.util import find_spec

import pytest

from tests.support.as_user import QUICK, ROOT, run
from tests.support.pages import blocks

UNWANTED = shutil.ignore_patterns("__pycache__")

# In one process: each action's exit status and output, and where it was.
DRIVER = """
import contextlib, io, json, pathlib, runpy, sys
with_site = sys.argv[1:] == ["site"]

def told(module, *arguments):
    sys.argv = [module, *arguments]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
            status = 0
        except SystemExit as exit:
            status = exit.code or 0
    return status, out.getvalue()

import funcnn
from funcnn import verify
found = {"file": funcnn.__file__, "ops": [op.name for op in verify.discover()]}
found["verify"] = told("funcnn.verify", "squareplus")
if with_site:
    found["site"] = told("mkdocs", "build", "--strict")
faulty = pathlib.Path("funcnn/ops/_faulty.py")
faulty.write_text(sys.stdin.read())
found["fault"] = told("funcnn.verify", "faulty")
faulty.unlink()
found["tests"] = told("pytest", "-v", "-k", "squareplus", "tests/ops/test_ops.py")
json.dump(found, open("found.json", "w"))
"""


@pytest.fixture(scope="session")
def source():
    """The op's file."""
    return blocks("docs/adding-an-op.md", "python")[0].lstrip("\n")


@pytest.fixture(scope="session")
def faulty(source):
    """The same op by another name, with a fault in its rule."""
    right, wrong = "(1 + square) * dyf", "(1 + square) * 1.01 * dyf"
    assert source.count(right) == 1
    return source.replace(right, wrong).replace("squareplus", "faulty")


@pytest.fixture(scope="session")
def project(tmp_path_factory, source, faulty):
    """A copy of the project with one file more, and no other edit; and what it told."""
    root = tmp_path_factory.mktemp("project")
    for folder in ("funcnn", "docs", "tests"):
        shutil.copytree(ROOT / folder, root / folder, ignore=UNWANTED)
    for name in ("mkdocs.yml", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    (root / "funcnn/ops/_squareplus.py").write_text(source)
    needed = ("mkdocs", "material", "latex2mathml")
    arguments = ["site"] if all(map(find_spec, needed)) else []
    result = run("-c", DRIVER, *arguments, root=root, input=faulty, env=QUICK)
    assert result.returncode == 0, result.stdout + result.stderr
    return root, json.loads((root / "found.json").read_text()), result.stderr


@pytest.fixture(scope="session")
def site(project):
    """The folder of the site that was built."""
    root, found, stderr = project
    if "site" not in found:
        pytest.skip("the site is built with what is in funcnn[docs]")
    assert found["site"][0] == 0, stderr
    return root / "site"
