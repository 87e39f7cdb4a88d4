"""The site builds with a page for each op and namespace, and fetches nothing."""

import importlib
import re

import pytest

from funcnn import verify
from tests.support.as_user import ROOT

OPS = [op.name for op in verify.discover()]


def article(site, page):
    html = (site / page / "index.html").read_text()
    return re.search(r"<article.*?</article>", html, re.S)[0]


def test_every_op_has_its_page(site):
    index = article(site, "ops")
    for op in OPS:
        module = importlib.import_module(f"funcnn.ops._{op}")
        text = article(site, f"ops/{op}")
        formulas = re.findall(r"\$\$.+?\$\$|\$.+?\$", module.__doc__, re.S)
        assert text.count("<math") == len(formulas), op
        assert "$" not in re.sub(r"<pre>.*?</pre>", "", text, flags=re.S), op
        assert f"{op}_bwd" in text
        assert f'href="{op}/"' in index


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


@pytest.fixture
def hooks(monkeypatch, tmp_path):
    """What MkDocs runs besides, with a folder of its own for tables."""
    for module in ("mkdocs", "latex2mathml"):
        pytest.importorskip(module, reason=f"the site is built with {module}: funcnn[docs]")
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    found = importlib.import_module("hooks")
    monkeypatch.setattr(found, "HERE", tmp_path)
    return found


def test_verification_table_is_inserted(hooks, tmp_path):
    """With the file present the page shows it, without it how to make it."""
    mark = "<!-- verification table -->"
    assert "`python -m funcnn.verify` prints it" in hooks.on_page_markdown(mark)
    (tmp_path / "verification-table.txt").write_text("conv ok\n")
    assert hooks.on_page_markdown(mark) == "```text\nconv ok\n```"
