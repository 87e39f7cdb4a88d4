"""Imports point one way, and the library needs little."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import funcnn

ROOT = Path(funcnn.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
EXTERNAL = {"jax", "numpy", "chex"}
LAZY = {
    "tqdm",
    "orbax",
    "safetensors",
    "tensorboardX",
    "matplotlib",
}  # for train, inside functions

# What the parts of funcnn may import besides themselves. Private modules at the top are
# for all; those that are not named may import each other.
PRIVATE = {path.stem for path in ROOT.glob("_[a-z]*")}
MAY_IMPORT = {
    "_numerics": set(),
    "_checks": set(),
    "_attention": {"_numerics"},
    "_chunks": {"_numerics"},
    "_windows": {"_numerics", "_checks"},
    "_angles": {"_numerics"},
    "_mesh": set(),
    "_norms": {"_numerics", "_mesh"},
    "_pooling": {"_numerics", "_windows"},
    "_convolution": {"_numerics", "_windows"},
    "ops": PRIVATE,
    "layers": PRIVATE | {"ops"},
    "losses": PRIVATE | {"ops"},
    "generation": PRIVATE | {"ops", "layers"},
    "optim": PRIVATE | {"ops", "layers", "losses"},
    "train": PRIVATE | {"ops", "layers", "losses", "optim"},
    "verify": PRIVATE | {"ops"},
}


def imports(source):
    """Each import in `source`: the dotted name, and whether it is inside a function."""
    tree = ast.parse(source)
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            names = [f"{prefix}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            yield name, id(node) in inside


def part(path):
    """The part of funcnn that a file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def complaints(part, source):
    """What is wrong with the imports of a file."""
    allowed = MAY_IMPORT.get(part, PRIVATE) | {part}
    for name, lazy in imports(source):
        package, *rest = name.split(".")
        if package == "funcnn":
            if not rest:
                yield f"{part} imports the whole package"
            elif part != "__init__" and rest[0] not in allowed:
                yield f"{part} imports {name}"
        elif package in EXTERNAL or package in sys.stdlib_module_names:
            continue
        elif not (package in LAZY and part == "train" and lazy):
            yield f"{part} imports {name}, which is not a dependency at run time"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    assert list(complaints(part(path), path.read_text())) == []


def test_every_part_has_its_place():
    public = {part(path) for path in FILES} - PRIVATE - {"__init__"}
    assert public == MAY_IMPORT.keys() - PRIVATE


@pytest.mark.parametrize(
    "part, source",
    [
        ("ops", "from funcnn import layers"),
        ("ops", "from funcnn.layers._layer import Layer"),
        ("layers", "import funcnn.losses"),
        ("losses", "from funcnn.layers import Dense"),
        ("optim", "def f():\n    from funcnn import train"),
        ("train", "from funcnn.verify import compare"),
        ("verify", "from funcnn import layers"),
        ("_numerics", "from funcnn._checks import integer"),
        ("_windows", "from funcnn.ops import conv"),
        ("_new", "from funcnn import ops"),
        ("train", "import tqdm"),
        ("train", "import orbax.checkpoint as ocp"),
        ("optim", "def f():\n    import tqdm"),
        ("optim", "import optax"),
        ("ops", "from scipy.special import erf"),
        ("ops", "from ._conv import conv"),
        ("ops", "import funcnn"),
    ],
)
def test_the_rule_can_fail(part, source):
    assert list(complaints(part, source))


@pytest.mark.parametrize(
    "part, source",
    [
        ("ops", "from funcnn._windows import windows\nimport jax.numpy as jnp, math"),
        ("train", "from funcnn import optim\ndef f():\n    from tqdm import tqdm"),
        ("train", "def f():\n    import orbax.checkpoint as ocp"),
        ("layers", "from funcnn.layers._layer import Layer\nimport chex"),
        ("verify", "import funcnn.ops\nfrom funcnn.verify._report import Report"),
        ("__init__", "from funcnn import verify as verify"),
    ],
)
def test_the_rule_can_hold(part, source):
    assert list(complaints(part, source)) == []


def test_importing_computes_nothing_and_loads_nothing_else():
    # a platform that does not exist fails with the first array
    code = """
import os, sys
os.environ["JAX_PLATFORMS"] = "none-such"
before = set(sys.modules)
import jax, numpy, chex
import funcnn
from funcnn import generation, layers, losses, ops, optim, train
loaded = {name.split(".")[0] for name in set(sys.modules)}
unwanted = {"grain", "matplotlib", "optax", "orbax", "safetensors", "sklearn", "torch"}
print(*sorted(loaded & (unwanted | {"tqdm", "tensorboardX"})))
"""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True
    )
    assert (run.returncode, run.stdout.strip()) == (0, ""), run.stderr
