"""Every block of Python in a page runs, those of a page in order and in one namespace.

Those that take long, and say so above them, are left to the exhaustive test; no block
may need one of them that is not marked itself.
"""

import json

import pytest

from tests.support.as_user import QUICK, run
from tests.support.pages import LONG, PAGES, blocks, not_installed, text_of

OWN = ["docs/scale.md"]  # sets what can be set once a process: how many devices there are
REST = [page for page in PAGES if page not in OWN]

# One process runs pages one after the other, and tells what went wrong on each. A page has
# no modules but those that it says how to install.
RUNNER = '''
import json, linecache, sys, traceback

class Absent:
    """A finder of modules that knows which are not there."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in absent:
            raise ModuleNotFoundError(f"No module named {name!r}, for all the page says")

sys.meta_path.insert(0, Absent)
failed = {}
for page, (sources, absent) in json.load(sys.stdin).items():
    known = {name: sys.modules.pop(name) for name in absent if name in sys.modules}
    namespace = {"__name__": "__main__"}
    for source in sources:
        linecache.cache[page] = len(source), None, source.splitlines(True), page
        try:
            exec(compile(source, page, "exec"), namespace)
        except BaseException:
            failed[page] = traceback.format_exc()
            break
    sys.modules.update(known)
if failed:
    sys.exit("\\n".join(failed.values()))
'''


def run_pages(pages, long, env=None):
    found = {page: (blocks(page, "python", long), not_installed(page)) for page in pages}
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


def test_what_is_installed_is_what_a_page_says():
    assert {"optax", "sklearn", "tqdm", "grain"} <= set(
        not_installed("docs/verification.md")
    )
    readme = not_installed("README.md")
    assert "flax" in readme
    assert not {"sklearn", "tqdm", "orbax", "tokenizers"} & set(readme)


def test_what_is_marked_is_code():
    for page in PAGES:
        assert text_of(page).count(LONG) == text_of(page).count(f"\n{LONG}```python\n")


def test_errors_tell_the_page_and_the_line():
    pages = {
        "a.md": (["x = 1", "\n\nassert x == 2"], []),
        "b.md": (["assert x"], []),
        "c.md": (["import json"], []),
        "d.md": (["import json.decoder"], ["json"]),
    }
    result = run("-W", "error", "-c", RUNNER, input=json.dumps(pages))
    assert result.returncode == 1
    assert 'File "a.md", line 3' in result.stderr
    assert "assert x == 2" in result.stderr
    assert "name 'x' is not defined" in result.stderr  # each page has its own names
    assert "c.md" not in result.stderr
    assert "No module named 'json'" in result.stderr  # d.md does not say how to get it
