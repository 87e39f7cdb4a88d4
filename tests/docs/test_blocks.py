"""Every block of Python in a page runs, those of a page in order and in one namespace.

Those that take long, and say so above them, are left to the exhaustive test; no block
may need one of them that is not marked itself.
"""

import json

import pytest

from tests.support.as_user import QUICK, run
from tests.support.pages import LONG, PAGES, blocks, text_of

OWN = ["docs/scale.md"]  # sets what can be set once a process: how many devices there are
REST = [page for page in PAGES if page not in OWN]

# One process runs pages one after the other, and tells what went wrong on each.
RUNNER = """
import json, linecache, sys, traceback
failed = {}
for page, sources in json.load(sys.stdin).items():
    namespace = {"__name__": "__main__"}
    for source in sources:
        linecache.cache[page] = len(source), None, source.splitlines(True), page
        try:
            exec(compile(source, page, "exec"), namespace)
        except BaseException:
            failed[page] = traceback.format_exc()
            break
if failed:
    sys.exit("\\n".join(failed.values()))
"""


def run_pages(pages, long, env=None):
    found = {page: blocks(page, "python", long) for page in pages}
    return run("-W", "error", "-c", RUNNER, input=json.dumps(found), env=env)


@pytest.mark.parametrize("pages", [OWN, REST], ids=["on devices", "others"])
def test_python_blocks_run(pages):
    result = run_pages(pages, long=False, env=QUICK)
    assert result.returncode == 0, result.stderr


@pytest.mark.exhaustive
@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")])
def test_all_python_blocks_run(page):
    result = run_pages([page], long=True)
    assert result.returncode == 0, result.stderr


def test_pages_have_code_that_does_not_take_long():
    some = {page for page in PAGES if blocks(page, "python")}
    assert {"CONTRIBUTING.md", "docs/derive-a-vjp.md", "docs/faq.md"} <= some
    assert some == {page for page in PAGES if blocks(page, "python", long=False)}


def test_what_is_marked_is_code():
    for page in PAGES:
        assert text_of(page).count(LONG) == text_of(page).count(f"\n{LONG}```python\n")


def test_errors_tell_the_page_and_the_line():
    pages = {
        "a.md": ["x = 1", "\n\nassert x == 2"],
        "b.md": ["assert x"],
        "c.md": ["y = 3"],
    }
    result = run("-W", "error", "-c", RUNNER, input=json.dumps(pages))
    assert result.returncode == 1
    assert 'File "a.md", line 3' in result.stderr
    assert "assert x == 2" in result.stderr
    assert "name 'x' is not defined" in result.stderr  # each page has its own names
    assert "c.md" not in result.stderr
