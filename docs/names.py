"""The public names in one page: `python docs/names.py > docs/names.md`."""

import inspect
from importlib import import_module
from itertools import groupby
from pathlib import Path

import reference

ROOT = Path(__file__).parents[1]
SPACES = ("ops", "layers", "losses", "optim", "train", "generation", "verify")
WIDTH = 60  # of arguments: those that do not fit are left out
HEAD = "| Name | Arguments | What it is |\n|---|---|---|"


def in_repository(space, name, value):
    """The address of the file that defines a value, as seen from the page."""
    return f"../{file_of(value)}"


def on_site(space, name, value):
    """The address of the page that documents a value."""
    return f"ops/{name}.md" if space == "ops" else f"api/{space}.md"


def page(address=in_repository):
    """All of it, in Markdown; `address(space, name, value)` is what a name links to."""
    parts = [
        "# All names",
        "What each namespace has, room by room: names, arguments, and the first sentence "
        "of what is said of each. A name links to the file that it is in, or on the site "
        "to its page. `python docs/names.py > docs/names.md` makes this page anew.",
    ]
    for space in SPACES:
        parts.append(f"## {space}")
        public = reference.public(import_module(f"funcnn.{space}")).items()
        for room, members in groupby(public, lambda item: room_of(item[1])):
            parts += [f"### {room}"] if room != space else []
            parts.append("\n".join([HEAD, *(row(space, *m, address) for m in members)]))
    return "\n\n".join(parts) + "\n"


def file_of(value):
    """The file that defines a value, below whatever decorates it."""
    value = inspect.unwrap(getattr(value, "fun", value))
    return Path(inspect.getsourcefile(value)).relative_to(ROOT)


def room_of(value):
    """The room that a value is defined in: `layers.basic`."""
    folders = file_of(value).with_suffix("").parts[1:]
    return ".".join(part for part in folders if not part.startswith("_"))


def row(space, name, value, address):
    """A name and where it leads, its arguments, and a sentence."""
    text = reference.paragraph(inspect.getdoc(value) or "")
    sentence = text.split(". ")[0].rstrip(".:")
    given = arguments(value)
    cell = f"`{given}`".replace("|", r"\|") if given else ""
    return f"| [`{name}`]({address(space, name, value)}) | {cell} | {sentence} |"


def arguments(value):
    """Names and defaults, as many as fit."""
    kept = reference.parameters(value) or []
    while len(", ".join(kept)) > WIDTH:
        kept = [*[p for p in kept if p != "..."][:-1], "..."]
    return ", ".join(kept)


if __name__ == "__main__":
    print(page(), end="")
