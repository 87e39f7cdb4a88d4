"""The project's pages and the blocks of code in them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(f"docs/{p.name}" for p in ROOT.glob("docs/*.md")),
]
LONG = "<!-- takes long -->\n"  # in the line above a block of code


def text_of(page):
    return (ROOT / page).read_text()


def blocks(page, language, long=True):
    """The blocks of code in a page, each padded so that errors have its line numbers.

    Without those that are marked as taking long, if `long` is false.
    """
    text = text_of(page)
    found = re.finditer(rf"^({LONG})?```{language}\n(.*?)^```$", text, re.S | re.M)
    return ["\n" * text[: m.start(2)].count("\n") + m[2] for m in found if long or not m[1]]
