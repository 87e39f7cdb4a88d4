"""Commands in pages name what exists, and no page hides code from the tests."""

import importlib.util
import re

import pytest

from funcnn import verify
from tests.support.as_user import ROOT
from tests.support.pages import PAGES, blocks, text_of

OPS = [op.name for op in verify.discover()]


def test_no_page_hides_code_from_these_tests():
    """Every fence names a language that is run, or one that is no program."""
    for page in PAGES:
        fences = re.findall(r"^ *(```|~~~)(.*)$", text_of(page), re.M)
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
            assert {t for t in targets if re.fullmatch(r"[\w-]+", t)} <= {*known}
        case ["python", "-m", "funcnn.verify", *ops]:
            assert {*ops} <= {*OPS, "squareplus"}  # the one that a page adds
        case ["python", "-m", module, *_]:
            assert importlib.util.find_spec(module)
        case ["python", script, *_]:
            assert (ROOT / script).is_file()
        case ["pytest", *paths]:
            assert all((ROOT / p).exists() for p in paths if p.startswith("tests/"))
        case ["pip", "install", *_] | ["git", "clone", *_] | ["cd", "funcnn"]:
            pass
        case _:
            pytest.fail(f"nothing here knows {' '.join(command)!r}")
