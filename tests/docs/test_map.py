"""The map of the house and the list of names say what is there."""

import ast
import importlib
import re

import jax

import funcnn
from funcnn import layers
from tests.support.as_user import ROOT
from tests.support.pages import text_of

MAP = text_of("docs/architecture.md")
WAYS = MAP[MAP.index("## The way of") : MAP.index("## Where do I change")]
FILES = {*re.findall(r"`(funcnn/[\w/]+\.py)`", WAYS)}
# `name` (`file`), or `Class.method`
NAMED = re.findall(r"`([\w.]+)`\s+\(`(funcnn/[\w/]+\.py)`\)", MAP)
# what the ways name besides: `name`, `name(...)` or `namespace.name`
NAMES = {*re.findall(r"`([A-Za-z_][\w.]*)(?:\([^`]*\))?`", WAYS)}


def defined(source, owner=""):
    """The functions and classes of a file, those inside of others too, and methods."""
    for node in ast.iter_child_nodes(ast.parse(source) if owner == "" else source):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield f"{owner}{node.name}".lstrip(".")
        inner = f"{node.name}." if isinstance(node, ast.ClassDef) else "."
        yield from defined(node, inner)


def public(name):
    """Whether a dotted name is there to be used: `optim.adamw`, or `jax.lax`."""
    first, *rest = name.split(".")
    value = {"jax": jax, "model": layers.Dense(1)}.get(first) or getattr(
        funcnn, first, None
    )
    for part in rest:
        value = getattr(value, part, None)
    return bool(rest) and value is not None


def test_the_map_names_files_that_exist():
    paths = re.findall(r"`((?:funcnn|tests)/[\w/.]*)`", MAP)
    paths = {p for p in paths if "/a/b/" not in p}  # which stand for any
    assert len(paths) > 40
    assert not [p for p in paths if not (ROOT / p).exists()]


def test_the_map_names_functions_that_exist():
    assert len(NAMED) > 15
    for name, path in NAMED:
        assert name in set(defined((ROOT / path).read_text())), f"{name} in {path}"


def test_what_the_ways_name_is_in_a_file_of_theirs_or_public():
    known = {name for path in FILES for name in defined((ROOT / path).read_text())}
    assert len(NAMES & known) > 25
    assert [name for name in NAMES - known if not public(name)] == []
    assert not public("train.fits")


def test_functions_that_are_not_there_are_missed():
    assert "Run.take_steps" not in set(defined("class Run:\n    pass"))
    assert set(defined("class Run:\n    def go(self): ...")) == {"Run", "Run.go"}


def test_the_list_of_names_is_that_of_the_package(monkeypatch):
    """`python docs/names.py > docs/names.md` makes it anew."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    assert importlib.import_module("names").page() == text_of("docs/names.md")
