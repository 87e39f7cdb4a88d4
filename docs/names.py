"""The public names in one page: `python docs/names.py > docs/names.md`."""

import inspect
from importlib import import_module
from pathlib import Path

import reference

ROOT = Path(__file__).parents[1]
SPACES = ("ops", "layers", "losses", "optim", "train", "generation", "verify")


def page():
    """All of it, in Markdown."""
    parts = [
        "# All names",
        "What each namespace has, with the first sentence of its documentation and the "
        "file that it is in. `python docs/names.py > docs/names.md` makes this page.",
    ]
    for space in SPACES:
        module = import_module(f"funcnn.{space}")
        rows = [row(name, value) for name, value in reference.public(module).items()]
        parts.append(
            "\n".join([f"## {space}\n", "| Name | What it is |", "|---|---|", *rows])
        )
    return "\n\n".join(parts) + "\n"


def row(name, value):
    """A name, linked to its source as seen from the page, and a sentence."""
    text = reference.paragraph(inspect.getdoc(value) or "")
    sentence = text.split(". ")[0].rstrip(".:")
    return f"| [`{name}`]({source(value)}) | {sentence} |"


def source(value):
    """The address of the file that defines a value."""
    value = getattr(value, "fun", value)
    path = Path(inspect.getsourcefile(inspect.unwrap(value)))
    return f"../{path.relative_to(ROOT)}"


if __name__ == "__main__":
    print(page(), end="")
