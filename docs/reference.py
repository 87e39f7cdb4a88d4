"""Pages made of the package's own docstrings, in Markdown."""

import inspect
import pkgutil
import re
import sys
import textwrap
from importlib import import_module

import jax
import numpy as np

import funcnn
from funcnn.verify import CLAIMS, discover
from funcnn.verify.check._ops import ONCE

SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises):$", re.M)
WIDTH = 88


def op_pages():
    """The path and text of each op's page: found in the folder, like the ops."""
    for op in discover():
        yield f"ops/{op.name}.md", op_page(op)


def op_paths():
    """Of the same pages, the paths alone."""
    return [f"ops/{op.name}.md" for op in discover()]


def op_index():
    """A table of all ops, with the first sentence of each derivation."""
    rows = [
        f"| [`{op.name}`]({op.name}.md) | {paragraph(inspect.getdoc(module_of(op)))} |"
        for op in discover()
    ]
    return "\n".join(
        [
            "# Ops\n",
            "Functions of arrays, each with a backward pass that is derived on its page.",
            "Arrays are channels-last; `...` is any number of leading axes.\n",
            "| Op | What it is |",
            "|---|---|",
            *rows,
        ]
    )


def op_page(op):
    module = module_of(op)
    rule = [getattr(module, f"{op.name}_{part}", None) for part in ("fwd", "bwd")]
    with jax.enable_x64(True):
        cases = op.cases(np.random.default_rng(0))
    parts = [
        f"# {op.name}",
        fenced(signature(op.name, op.apply)),
        docstring(op.apply),
        "## Derivation",
        docstring(module),
        "## The rule",
        *(fenced(inspect.getsource(f)) for f in rule if f),
        "## The definition it is verified against",
        fenced(inspect.getsource(op.reference)),
        "## Cases",
        tested(),
        "\n".join(f"- {name}" for name in cases),
    ]
    return "\n\n".join(parts)


def tested():
    """On which of an op's cases the verifier tests which claims."""
    once = [f"`{name}`" for name in CLAIMS if name in ONCE]
    return (
        "Every [claim](../verification.md) is tested on each of these, but "
        f"{', '.join(once[:-1])} and {once[-1]}, which depend on how the rule is written "
        "and are tested on the first."
    )


def module_of(op):
    return import_module(f"funcnn.ops._{op.name}")


def namespaces():
    """The public namespaces but `ops`, whose members have pages of their own."""
    internal = ("foundation", "kernels", "ops")
    names = [m.name for m in pkgutil.iter_modules(funcnn.__path__)]
    return [n for n in names if n not in internal]


def namespace_pages():
    """The path and text of each namespace's page."""
    for name in namespaces():
        yield f"api/{name}.md", namespace_page(name, import_module(f"funcnn.{name}"))


def namespace_page(name, module):
    parts, derived = [f"# {name}", docstring(module)], {name}
    for member, value in public(module).items():
        parts += [f"## {member}", fenced(signature(member, value)), docstring(value)]
        if value.__module__ not in derived and formulas(value):
            parts += ["**Derivation**", docstring(sys.modules[value.__module__])]
            derived.add(value.__module__)
        for method, function in methods(value).items():
            parts += [f"### {member}.{method}", docstring(function)]
            if inspect.isfunction(function):
                parts.insert(-1, fenced(signature(method, function)))
    return "\n\n".join(parts)


def formulas(value):
    """Whether the module that defines a name derives it: its docstring has formulas."""
    return callable(value) and "$" in (sys.modules[value.__module__].__doc__ or "")


def public(module):
    """The names that a namespace defines, or takes from its own private modules."""
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and f"{getattr(value, '__module__', '')}.".startswith(f"{module.__name__}.")
    }


def methods(value):
    """A class's own public methods and properties that have a docstring."""
    if not inspect.isclass(value):
        return {}
    found = {}
    for name, member in vars(value).items():
        member = getattr(member, "__func__", member)
        known = inspect.isfunction(member) or isinstance(member, property)
        if known and not name.startswith("_") and member.__doc__:
            found[name] = member
    return found


def signature(name, function):
    """Name, parameters and defaults on one line, or one a line if that is too long."""
    shown = parameters(function)
    if shown is None:
        return name
    line = f"{name}({', '.join(shown)})"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{name}(", *(f"    {s}," for s in shown), ")"])


def parameters(function):
    """Parameters with their defaults, as they are written; None if they are not known."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    shown, starred = [], False
    for p in found:
        if p.name in ("self", "cls", "_cls"):
            continue
        if p.kind is p.KEYWORD_ONLY and not starred:
            shown.append("*")
        starred |= p.kind in (p.KEYWORD_ONLY, p.VAR_POSITIONAL)
        stars = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        default = getattr(p.default, "__name__", repr(p.default))
        default = "..." if " at 0x" in default else default
        shown.append(stars + p.name + ("" if p.default is p.empty else f"={default}"))
    return shown


def docstring(thing):
    """A Google-style docstring as Markdown, its sections as lists."""
    text, *sections = SECTION.split(inspect.getdoc(thing) or "")
    parts = [examples(text)]
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        named = title in ("Args", "Attributes", "Raises")
        items = entries(inspect.cleandoc(body), named)
        parts.append(f"**{title}**\n\n" + "\n".join(f"- {item}" for item in items))
    return "\n\n".join(part for part in parts if part.strip())


def entries(body, named):
    """One string an entry, its lines joined; the entry's name set as code."""
    if not named:
        return [" ".join(body.split())]
    found = []
    for line in body.splitlines():
        if line[:1].strip():
            found.append(line)
        elif line.strip():
            found[-1] += " " + line.strip()
    return [re.sub(r"^([\w.*, ]+?):\s+", r"`\1`: ", entry) for entry in found]


def examples(text):
    """Fence `>>>` examples and indented code, which else would be quotations or plain."""
    text = re.sub(r"(?:^>>>.*\n?(?:^\S.*\n?|^    .*\n?)*)", _pycon, text, flags=re.M)
    return re.sub(r"(?:(?<=\n\n)(?:^    .*\n?|^\n(?=    ))+)", _python, text, flags=re.M)


def _pycon(match):
    return fenced(match[0], "pycon") + "\n"


def _python(match):
    return fenced(textwrap.dedent(match[0]).strip("\n")) + "\n"


def paragraph(text):
    """The first paragraph, on one line."""
    return " ".join(text.split("\n\n")[0].split()).replace("|", r"\|")


def fenced(code, language="python"):
    return f"```{language}\n{code.rstrip()}\n```"


def claims():
    """A table of the verifier's claims, in the words of their docstrings."""
    rows = [f"| `{name}` | {paragraph(f.__doc__)} |" for name, f in CLAIMS.items()]
    return "\n".join(["| Column | Claim |", "|---|---|", *rows])
