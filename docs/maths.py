"""A Markdown extension that turns `$...$` and `$$...$$` into MathML.

The LaTeX is translated when the site is built, so that pages need no script. Code is left
alone: inline code is taken before formulas are, and blocks of code never come here.
"""

import xml.etree.ElementTree as ET

from latex2mathml.converter import convert
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor

ACCENTS = {"\u00af": "\u00af", "\u02d9": "\u02d9", "^": "\u02c6"}  # \bar, \dot, \hat
THIN = "0.167em"
SCRIPTS = ("msub", "msup", "msubsup", "munder", "munderover")


class Maths(Extension):
    """Formulas, and links to papers: `arXiv:1607.06450`."""

    def extendMarkdown(self, md):
        """Run after inline code (190) and before backslashes are taken away (180)."""
        md.inlinePatterns.register(Formula(r"\$\$(.+?)\$\$", md, "block"), "block", 186)
        inline = Formula(r"\$(?! )([^$]+?)(?<! )\$", md, "inline")
        md.inlinePatterns.register(inline, "inline", 185)
        md.inlinePatterns.register(Paper(r"arXiv:(\d{4}\.\d{4,5})", md), "paper", 60)


class Formula(InlineProcessor):
    """One formula, as MathML that later processors do not touch."""

    def __init__(self, pattern, md, display):
        super().__init__(pattern, md)
        self.display = display

    def handleMatch(self, m, data):
        """Translate what stands between the dollars."""
        return self.md.htmlStash.store(mathml(m[1], self.display)), m.start(0), m.end(0)


class Paper(InlineProcessor):
    """A paper's number, linked to its page."""

    def handleMatch(self, m, data):
        """Keep the text, add the address."""
        link = ET.Element("a", href=f"https://arxiv.org/abs/{m[1]}")
        link.text = m[0]
        return link, m.start(0), m.end(0)


def mathml(latex: str, display: str) -> str:
    """Translate a formula.

    Raises:
        ValueError: if a command is not known.
    """
    tree = ET.fromstring(convert(latex, display=display))
    text = "".join(tree.itertext())
    if "\\" in text or "&" in text:
        raise ValueError(f"latex2mathml does not translate {latex!r}: {text!r}")
    ET.register_namespace("", "http://www.w3.org/1998/Math/MathML")
    for element in list(tree.iter()):
        element.tag = element.tag.rpartition("}")[2]
    tree.set("xmlns", "http://www.w3.org/1998/Math/MathML")
    for element in list(tree.iter()):
        tidy(element)
    return ET.tostring(tree, encoding="unicode")


def tidy(e):
    """Mend what latex2mathml leaves to the browser, which would do it otherwise."""
    if e.tag == "mover" and e[1].text in ACCENTS:
        e.set("accent", "true")  # else the accent is small and far away
        e[1].set("stretchy", "false")  # over one letter; style.css keeps it off the letter
        e[1].text = ACCENTS[e[1].text]
    if e.tag == "mspace" and e.get("width") == "negativethinmathspace":
        e.set("width", f"-{THIN}")  # browsers know no named widths
    if e.tag == "msub" and e[0].text in ("max", "min"):
        e.tag = "munder"
        e[0].set("movablelimits", "true")
    join_letters(e)
    for i, child in enumerate(e if e.tag not in SCRIPTS else ()):
        name = child[0] if child.tag in SCRIPTS else child
        if name.tag in ("mi", "mo") and len(name.text or "") > 1 and name.text.isalpha():
            before = e[i - 1] if i else None
            after = e[i + 1] if i + 1 < len(e) else None
            name.tag = "mo"  # log, max, lse: upright, with a thin space on either side
            name.set("lspace", "0" if before is None or is_operator(before) else THIN)
            name.set("rspace", "0" if after is None or after.tag == "mo" else THIN)


def is_operator(e):
    return e.tag in ("mo", "mspace", "mtext") and e.text not in tuple(")]")


def join_letters(e):
    r"""Make one word of the letters that `\rm` sets upright one by one."""
    word = None
    for child in list(e):
        if child.tag == "mi" and child.get("mathvariant") == "normal":
            if word is not None:
                word.text += child.text
                e.remove(child)
                continue
            word = child
        else:
            word = None
