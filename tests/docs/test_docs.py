"""Everything that is printed runs, and the site builds with a page for each op."""

import importlib
import importlib.util
import inspect
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import funcnn
from funcnn import verify

ROOT = Path(__file__).parents[2]
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *(f"docs/{p.name}" for p in ROOT.glob("docs/*.md")),
]
OPS = [op.name for op in verify.discover()]

# What examples in docstrings may use without saying where it is from.
NAMES = """
import tempfile
import jax
import jax.numpy as jnp
import numpy as np
from funcnn import generation, layers, losses, ops, optim, train, verify

key = jax.random.key(0)
images = jax.random.normal(key, (256, 28, 28, 1))
labels = jax.random.randint(key, (256,), 0, 10)
test_images, test_labels = images[:100], labels[:100]
model = layers.Serial(layers.Flatten(), layers.Dense(10))
optimizer = optim.sgd(0.1)

def loss(params, batch, key):
    x, y = batch
    return losses.softmax_cross_entropy(model.apply(params, x, key=key), y)

state = train.init(key, model, optimizer, (1, 784))
params, x = state.params, images
directory = tempfile.mkdtemp()
path = directory + "/file"
"""


def blocks(path, language):
    """The blocks of code in a page, each padded so that errors have its line numbers."""
    text = (ROOT / path).read_text()
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.S | re.M)
    return ["\n" * text[: m.start(1)].count("\n") + m[1] for m in found]


def run(*command, **kwargs):
    """Run in a process of its own, as a user has it: x64 off, promotion standard."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "PYTEST_"))}
    env = (
        clean | {"JAX_PLATFORMS": "cpu", "NO_MKDOCS_2_WARNING": "1"} | kwargs.pop("env", {})
    )
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=env,
        text=True,
        capture_output=True,
        **kwargs,
    )


# One process runs the blocks of a page in order, in one namespace.
RUNNER = """
import sys, linecache
sources = sys.stdin.read().split("\\0")
namespace = {"__name__": "__main__"}
for source in sources:
    exec(compile(source, sys.argv[1], "exec"), namespace)
"""


@pytest.mark.parametrize("page", PAGES)
def test_python_blocks_of_pages_run(page):
    found = blocks(page, "python")
    if not found:
        pytest.skip("no Python here")
    result = run("-W", "error", "-c", RUNNER, page, input="\0".join(found))
    assert result.returncode == 0, result.stderr


def test_pages_have_code():
    with_code = [page for page in PAGES if blocks(page, "python")]
    assert {"CONTRIBUTING.md", "docs/derive-a-vjp.md", "docs/faq.md"} <= {*with_code}


def test_no_page_hides_code_from_these_tests():
    """Every fence names a language that is run, or one that is no program."""
    for page in PAGES:
        fences = re.findall(r"^ *(```|~~~)(.*)$", (ROOT / page).read_text(), re.M)
        assert not [mark for mark, _ in fences if mark == "~~~"]
        languages = {language for _, language in fences[::2]}
        assert languages <= {"python", "sh", "text"}, page
        assert {language for _, language in fences[1::2]} <= {""}, page


def shell_commands():
    for page in PAGES:
        for block in blocks(page, "sh"):
            for line in block.splitlines():
                if line.strip() and not line.startswith("#"):
                    yield pytest.param(line.split("  #")[0].split(), id=f"{page}: {line}")


@pytest.mark.parametrize("command", list(shell_commands()))
def test_shell_blocks_name_what_exists(command):
    match command:
        case ["make", *targets]:
            known = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
            assert {t for t in targets if "=" not in t} <= {*known}
        case ["python", "-m", "funcnn.verify", *ops]:
            assert {*ops} <= {*OPS, "squareplus"}  # the one that a page adds
        case ["python", "-m", module, *_]:
            assert importlib.util.find_spec(module)
        case ["python", script, *_]:
            assert (ROOT / script).is_file()
        case ["pip", "install", *_] | ["git", "clone", *_] | ["cd", "funcnn"]:
            pass
        case _:
            pytest.fail(f"nothing here knows {' '.join(command)!r}")


def documented():
    """Each docstring of the package, by the name of what it documents."""
    modules = [funcnn.__name__]
    modules += [m.name for m in pkgutil.walk_packages(funcnn.__path__, "funcnn.")]
    for name in modules:
        if not name.endswith("__main__"):
            module = importlib.import_module(name)
            yield name, inspect.getdoc(module) or ""
            for member, value in vars(module).items():
                if getattr(value, "__module__", None) == name and value.__doc__:
                    yield f"{name}.{member}", inspect.getdoc(value)


def indented(text):
    """The blocks of code in a docstring: indented, before any section like Args."""
    prose = re.split(r"^(?:Args|Attributes|Returns|Yields|Raises):$", text, flags=re.M)[0]
    found = re.findall(r"(?<=\n\n)(?:    .*(?:\n|\Z)|\n(?=    ))+", prose)
    return [inspect.cleandoc(block) for block in found]


EXAMPLES = [(name, block) for name, text in documented() for block in indented(text)]
DOCTESTS = [(name, text) for name, text in documented() if ">>> " in text]


def test_examples_in_docstrings_run():
    """All in one process; each starts from NAMES."""
    assert EXAMPLES
    lines = [f"import doctest\nnames = {{}}; exec({NAMES!r}, names)"]
    for name, block in EXAMPLES:
        lines.append(f"exec(compile({block!r}, {name!r}, 'exec'), dict(names))")
    lines.append("parse = doctest.DocTestParser().get_doctest")
    lines.append("runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)")
    for name, text in DOCTESTS:
        lines.append(f"runner.run(parse({text!r}, dict(names), {name!r}, None, 0))")
    lines.append("raise SystemExit(runner.failures)")
    result = run("-W", "error", "-", input="\n".join(lines))
    assert result.returncode == 0, result.stdout + result.stderr


# --- the site -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    for module in ("mkdocs", "material", "latex2mathml"):
        pytest.importorskip(module, reason=f"the site is built with {module}: funcnn[docs]")
    path = tmp_path_factory.mktemp("site")
    result = run("-m", "mkdocs", "build", "--strict", "--site-dir", str(path))
    assert result.returncode == 0, result.stderr
    return path


def article(site, page):
    html = (site / page / "index.html").read_text()
    return re.search(r"<article.*?</article>", html, re.S)[0]


@pytest.mark.parametrize("op", OPS)
def test_every_op_has_its_page(site, op):
    module = importlib.import_module(f"funcnn.ops._{op}")
    text = article(site, f"ops/{op}")
    formulas = re.findall(r"\$\$.+?\$\$|\$.+?\$", module.__doc__, re.S)
    assert text.count("<math") == len(formulas)
    assert "$" not in re.sub(r"<pre>.*?</pre>", "", text, flags=re.S)
    assert f"{op}_bwd" in text
    assert f'href="{op}/"' in article(site, "ops")


def test_every_public_name_is_documented(site):
    for space in ("generation", "layers", "losses", "optim", "train", "verify"):
        module = importlib.import_module(f"funcnn.{space}")
        text = article(site, f"api/{space}")
        for name, value in vars(module).items():
            if getattr(value, "__module__", "").startswith(module.__name__):
                assert name.startswith("_") or f">{name}<" in text
        assert " at 0x" not in text


def test_every_claim_is_explained(site):
    text = article(site, "verification")
    for name, claim in verify.CLAIMS.items():
        assert f"<td><code>{name}</code></td>" in text
        assert claim.__doc__.split(",")[0].split(".")[0] in text
        assert name in (ROOT / "docs/verification.md").read_text()


def test_site_fetches_nothing_from_other_hosts(site):
    pages = [*site.rglob("*.html"), *site.rglob("*.css")]
    assert pages
    fetched = r"<(?:script|img|iframe|link)[^>]*(?:src|href)=.?https?:[^ >]*|url\(.?https?:"
    found = {m[0] for page in pages for m in re.finditer(fetched, page.read_text())}
    assert not {f for f in found if 'rel="canonical"' not in f}


def test_hidden_files_are_not_published(site):
    assert not [*site.rglob("*.py")]
    assert not [*site.rglob("*.txt")]


def test_verification_table_is_inserted(tmp_path):
    """With the file present the page shows it, without it how to make it."""
    pytest.importorskip("mkdocs", reason="the site is built with mkdocs: funcnn[docs]")
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import hooks\n"
        "print(hooks.on_page_markdown('<!-- verification table -->'))"
    )
    table = tmp_path / "docs/verification-table.txt"
    table.unlink(missing_ok=True)
    without = run("-c", program, str(tmp_path / "docs"))
    assert "python -m funcnn.verify" in without.stdout, without.stderr
    table.write_text("conv ok\n")
    within = run("-c", program, str(tmp_path / "docs"))
    assert within.stdout == "```text\nconv ok\n```\n", within.stderr
