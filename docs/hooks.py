"""What MkDocs runs besides: pages for all that is in the package, and formulas."""

from pathlib import Path

import maths
import reference
from mkdocs.structure.files import File

TABLE = Path(__file__).parent / "verification-table.txt"
UNMADE = "The table is not part of this build: `python -m funcnn.verify` prints it."


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
    table = reference.fenced(TABLE.read_text(), "text") if TABLE.exists() else UNMADE
    markdown = markdown.replace("<!-- verification table -->", table)
    return markdown.replace("<!-- claims -->", reference.claims())
