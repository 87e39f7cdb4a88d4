"""The site builds with a page for each op and namespace, and fetches nothing."""

import html
import importlib
import re

import pytest
from fontTools import ttLib

import funcnn
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


def test_formulas_of_optimizers_and_schedules_are_on_their_page(site):
    """What a module's docstring derives is shown, once, below what it defines."""
    values = [v for v in vars(funcnn.optim).values() if hasattr(v, "__module__")]
    modules = {v.__module__ for v in values if v.__module__.startswith("funcnn.optim.")}
    docs = [importlib.import_module(name).__doc__ or "" for name in sorted(modules)]
    docs = [doc for doc in docs if "$" in doc]
    text = article(site, "api/optim")
    assert len(docs) > 20
    assert text.count("<strong>Derivation</strong>") == len(docs)
    papers = {paper for doc in docs for paper in re.findall(r"arXiv:([\d.]+\d)", doc)}
    assert {p for p in papers if f"arxiv.org/abs/{p}" not in text} == set()


def test_formulas_have_a_font_for_mathematics(site):
    """Which holds all their characters, and says where dots and bars are to go."""
    url = re.search(r'url\("(.+?\.woff2)"\)', (site / "style.css").read_text())[1]
    assert list((site / "fonts").glob("*.LICENSE"))
    font = ttLib.TTFont(site / url)
    assert "MATH" in font
    formulas = re.findall(
        r"<math.*?</math>", "".join(p.read_text() for p in site.rglob("*.html")), re.S
    )
    used = set(html.unescape(re.sub(r"<.*?>", "", "".join(formulas), flags=re.S)))
    assert {
        c for c in used if not c.isspace() and ord(c) not in font.getBestCmap()
    } == set()


def test_accents_are_accents(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    maths = importlib.import_module("maths")
    for letters, accent in ((r"\bar", "\u00af"), (r"\dot", "\u02d9"), (r"\hat", "\u02c6")):
        text = maths.mathml(letters + " x", "inline")
        assert f'<mo stretchy="false">{accent}</mo>' in text
        assert '<mover accent="true">' in text


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
