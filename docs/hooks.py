"""What MkDocs runs besides: pages for all that is in the package, and formulas."""

import re
from pathlib import Path

import maths
import reference
from mkdocs.structure.files import File

HERE = Path(__file__).parent
# Tables that `make docs` makes anew: their place, file, and the command that prints them.
TABLES = {
    "verification table": ("verification-table.txt", "python -m funcnn.verify"),
    "costs table": ("costs-table.txt", "python -m funcnn.verify --costs"),
    "matrix table": ("matrix-table.txt", "python -m funcnn.verify --matrix"),
}


def on_config(config):
    """Extend Markdown, and the navigation by what is found in the package."""
    config.markdown_extensions.append(maths.Maths())
    ops = [path for path, _ in reference.op_pages()]
    namespaces = [f"api/{name}.md" for name in reference.namespaces()]
    config.nav += [{"Ops": ["ops/index.md", *ops]}, {"Namespaces": namespaces}]
    return config


def on_files(files, config):
    """Add the pages that docstrings make."""
    pages = [("ops/index.md", reference.op_index())]
    pages += [*reference.op_pages(), *reference.namespace_pages()]
    for path, text in pages:
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown, **kwargs):
    """Put the tables of claims and of results where the pages ask for them."""
    for name, (file, command) in TABLES.items():
        path = HERE / file
        table = f"The table is not part of this build: `{command}` prints it."
        if path.exists():
            table = path.read_text()
            if not table.startswith("|"):  # it is text and not Markdown
                table = reference.fenced(table, "text")
        markdown = markdown.replace(f"<!-- {name} -->", table)
    # files of the repository are no part of the site
    markdown = re.sub(r"\[(`\w+`)\]\(\.\./funcnn/[^)]*\)", r"\1", markdown)
    return markdown.replace("<!-- claims -->", reference.claims())
