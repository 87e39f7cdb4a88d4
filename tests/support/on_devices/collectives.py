"""What a compiled program exchanges between devices."""

import re
from collections import Counter

KINDS = "all-gather|all-to-all|collective-permute|all-reduce|reduce-scatter"


def collectives(compiled):
    """How often each kind is in a compiled program."""
    return Counter(re.findall(rf" ({KINDS})(?:-start)?\(", compiled.as_text()))


def sources(compiled, kind):
    """The names of the operations that exchanges of a kind are for."""
    lines = re.findall(rf".* {kind}(?:-start)?\(.*", compiled.as_text())
    return [re.findall(r'op_name="([^"]*)"', line) for line in lines]


def gathered(compiled):
    """The shapes that a compiled program gathers."""
    found = re.findall(r"= \w+\[([\d,]*)\]\S* all-gather(?:-start)?\(", compiled.as_text())
    return [tuple(int(n) for n in shape.split(",") if n) for shape in found]
