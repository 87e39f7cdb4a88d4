"""The map of the house and the list of names say what is there."""

import ast
import importlib
import re

from tests.support.as_user import ROOT
from tests.support.pages import text_of

MAP = text_of("docs/architecture.md")
# `name` (`file`), or `Class.method`
NAMED = re.findall(r"`([\w.]+)`\s+\(`(funcnn/[\w/]+\.py)`\)", MAP)


def defined(source):
    """The functions and classes of a file, and the methods of those."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
            for inner in ast.iter_child_nodes(node):
                if isinstance(inner, ast.FunctionDef):
                    yield f"{node.name}.{inner.name}"


def test_the_map_names_files_that_exist():
    paths = re.findall(r"`((?:funcnn|tests)/[\w/.]*)`", MAP)
    paths = {p for p in paths if "/a/b/" not in p}  # which stand for any
    assert len(paths) > 40
    assert not [p for p in paths if not (ROOT / p).exists()]


def test_the_map_names_functions_that_exist():
    assert len(NAMED) > 15
    for name, path in NAMED:
        assert name in set(defined((ROOT / path).read_text())), f"{name} in {path}"


def test_functions_that_are_not_there_are_missed():
    assert "Run.take_steps" not in set(defined("class Run:\n    pass"))
    assert set(defined("class Run:\n    def go(self): ...")) == {"Run", "Run.go"}


def test_the_list_of_names_is_that_of_the_package(monkeypatch):
    """`python docs/names.py > docs/names.md` makes it anew."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    assert importlib.import_module("names").page() == text_of("docs/names.md")
