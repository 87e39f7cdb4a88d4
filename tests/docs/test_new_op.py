"""One new file in `funcnn/ops` is an op that is verified, tested, listed and documented."""

import re

from tests.support.as_user import ROOT


def test_the_page_prints_a_whole_op(source):
    assert source.startswith('r"""Squareplus')
    for part in ("fwd", "bwd", "reference", "cases"):
        assert f"def squareplus_{part}(" in source
    assert not (ROOT / "funcnn/ops/_squareplus.py").exists()


def test_it_is_discovered(project):
    root, found, _ = project
    assert found["file"] == str(root / "funcnn/__init__.py")
    assert "squareplus" in found["ops"]


def test_it_is_proved(project):
    status, text = project[1]["verify"]
    assert status == 0, text
    assert text.startswith("squareplus  ok")
    assert "FAIL" not in text
    assert "1 op, 5 cases: 48 claims, all hold." in text


def test_it_is_tested(project):
    """By the tests of all ops, planted faults among them."""
    status, text = project[1]["tests"]
    assert status == 0, text
    passed = re.findall(r"::(test_.*\S) +PASSED", text)
    assert any(name.startswith("test_every_claim_holds[squareplus") for name in passed)
    assert any("fault" in name for name in passed)


def test_it_is_documented(site):
    page = (site / "ops/squareplus/index.html").read_text()
    assert page.count("<math") > 5
    assert "<li>at 0</li>" in page
    index = (site / "ops/index.html").read_text()
    assert index.count('href="squareplus/"') >= 2  # in the table and in the navigation


def test_a_planted_fault_is_caught_and_named(project):
    status, text = project[1]["fault"]
    assert status == 1, text
    told = " ".join(text.split())
    assert "faulty: the cotangent of x is wrong" in told
    assert "a constant factor of 1.01" in told
    assert text.startswith("faulty  FAIL")
