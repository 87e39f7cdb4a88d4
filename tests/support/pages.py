"""The project's pages and the blocks of code in them."""

import re
import tomllib
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


# What some packages are called when they are imported.
MODULES = {"orbax-checkpoint": "orbax", "scikit-learn": "sklearn"}


def extras():
    """The modules that each extra of the project brings, by its name."""
    declared = tomllib.loads(text_of("pyproject.toml"))["project"]["optional-dependencies"]

    def modules(extra):
        for requirement in declared[extra]:
            name, inner = re.match(r"([\w-]+)(?:\[(.+?)\])?", requirement).groups()
            if name == "funcnn":
                for other in inner.split(","):
                    yield from modules(other)
            else:
                yield MODULES.get(name, name.replace("-", "_"))

    return {extra: set(modules(extra)) for extra in declared}


def not_installed(page):
    """Modules that extras bring, but not to one who installs what the page says."""
    text, brought = " ".join(text_of(page).split()), extras()
    installed = set()
    for words in re.findall(r"`pip install (.+?)`", text):
        for word in words.replace("'", "").split():
            if named := re.fullmatch(r"(?:\.|funcnn)\[(.+)\]", word):
                installed |= {m for extra in named[1].split(",") for m in brought[extra]}
            installed.add(MODULES.get(word, word))
    return sorted(set().union(*brought.values()) - installed)
