"""Imports point one way, as docs/architecture.md says, and the library needs little."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import funcnn

PACKAGE = Path(funcnn.__file__).parent
PAGE = (Path(__file__).parents[1] / "docs/architecture.md").read_text()
FILES = sorted(PACKAGE.rglob("*.py"))
EXTERNAL = {"jax", "numpy", "chex"}
# for train, inside functions
LAZY = {"tqdm", "orbax", "safetensors", "tensorboardX", "matplotlib"}


def table():
    """What each room may import from, by the page's table, in its order."""
    rows = re.findall(r"^\| `([\w.]+)` \|[^|]*\| (.*?) ?\|$", PAGE, re.M)
    rooms = {}
    for room, text in rows:
        every = re.search(r"every room of `(\w+)`", text)
        rooms[room] = (
            {r for r in rooms if r.startswith(f"{every[1]}.")}
            if every
            else set(re.findall(r"`([\w.]+)`", text))
        )
    return rooms


ROOMS = table()


def room(module):
    """The room that a module, or a name in one, lies in: `ops` for `ops._relu.relu`."""
    parts = module.split(".")
    while parts and ".".join(parts) not in ROOMS:
        parts.pop()
    return ".".join(parts)


def home(path):
    """The room of a file."""
    module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    return room(module.removesuffix(".__init__").removesuffix(".__main__"))


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


def arrows(source):
    """The rooms that a file imports from."""
    names = (name.split(".", 1) for name, _ in imports(source))
    return {room(name[1]) for name in names if name[0] == "funcnn" and name[1:]}


def complaints(home, source):
    """What is wrong with the imports of a file in the room `home`; "" is the package's."""
    for name, lazy in imports(source):
        package, _, rest = name.partition(".")
        if package == "funcnn":
            if not rest:
                yield f"{home} imports the whole package"
            elif home and room(rest) not in ROOMS[home] | {home}:
                yield f"{home} imports {name}"
        elif package in EXTERNAL or package in sys.stdlib_module_names:
            continue
        elif not (package in LAZY and home.startswith("train.") and lazy):
            yield f"{home} imports {name}, which is not a dependency at run time"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    assert list(complaints(home(path), path.read_text())) == []


def test_the_table_has_every_room_and_no_other():
    folders = {p.parent for p in FILES} - {PACKAGE}
    rooms = {".".join(p.relative_to(PACKAGE).parts) for p in folders}
    rooms |= {p.stem for p in PACKAGE.glob("[!_]*.py")}
    assert rooms == ROOMS.keys()


def test_rooms_import_from_those_above_them():
    above = set()
    for room, allowed in ROOMS.items():
        assert allowed <= above, f"{room} imports from {allowed - above}, not above it"
        above.add(room)


def test_the_table_names_no_arrow_that_is_not_there():
    found = {room: set() for room in [*ROOMS, ""]}
    for path in FILES:
        found[home(path)] |= arrows(path.read_text())
    for room, allowed in ROOMS.items():
        if room not in ("layers", "optim", "train", "verify"):  # "every room of"
            assert allowed == found[room] - {room}, room


@pytest.mark.parametrize(
    "home, source",
    [
        ("ops", "from funcnn import layers"),
        ("ops", "from funcnn.layers.protocol._layer import Layer"),
        ("layers.basic", "import funcnn.losses"),
        ("layers.basic", "from funcnn.layers.attention._cache import Cache"),
        ("layers.basic", "from funcnn.layers import Dense"),
        ("losses", "from funcnn.layers import Dense"),
        ("optim.methods", "def f():\n    from funcnn import train"),
        ("optim.protocol", "from funcnn.optim.methods._adam import adam"),
        ("train.loop", "from funcnn.verify import compare"),
        ("verify.check", "from funcnn import layers"),
        ("foundation", "from funcnn.kernels._windows import windows"),
        ("kernels", "from funcnn.ops import conv"),
        ("train.report", "import tqdm"),
        ("train.checkpoints", "import orbax.checkpoint as ocp"),
        ("optim.methods", "def f():\n    import tqdm"),
        ("optim.methods", "import optax"),
        ("ops", "from scipy.special import erf"),
        ("ops", "from ._conv import conv"),
        ("ops", "import funcnn"),
    ],
)
def test_the_rule_can_fail(home, source):
    assert list(complaints(home, source))


@pytest.mark.parametrize(
    "home, source",
    [
        ("ops", "from funcnn.kernels._windows import windows\nimport jax.numpy, math"),
        ("train.step", "from funcnn import optim"),
        ("train.loop", "def f():\n    from tqdm import tqdm"),
        ("train.checkpoints", "def f():\n    import orbax.checkpoint as ocp"),
        ("layers.basic", "from funcnn.layers.protocol._layer import Layer\nimport chex"),
        ("verify.functions", "import funcnn.ops"),
        ("", "from funcnn import verify as verify"),
    ],
)
def test_the_rule_can_hold(home, source):
    assert list(complaints(home, source)) == []


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
