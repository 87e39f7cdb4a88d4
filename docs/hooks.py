"""What MkDocs runs besides: pages for all that is in the package, and formulas."""

from pathlib import Path

import maths
import names
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
    namespaces = [f"api/{name}.md" for name in reference.namespaces()]
    config.nav += [
        {"Ops": ["ops/index.md", *reference.op_paths()]},
        {"Namespaces": namespaces},
    ]
    return config


def on_files(files, config):
    """Add the pages that docstrings make."""
    pages = [("ops/index.md", reference.op_index())]
    pages += [*reference.op_pages(), *reference.namespace_pages()]
    for path, text in pages:
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown, page=None, **kwargs):
    """Put the tables of claims and of results where the pages ask for them."""
    if page and page.file.src_uri == "names.md":  # whose files are no part of the site
        return names.page(names.on_site)
    for name, (file, command) in TABLES.items():
        path = HERE / file
        table = f"The table is not part of this build: `{command}` prints it."
        if path.exists():
            table = path.read_text()
            if not table.startswith("|"):  # it is text and not Markdown
                table = reference.fenced(table, "text")
        markdown = markdown.replace(f"<!-- {name} -->", table)
    return markdown.replace("<!-- claims -->", reference.claims())
