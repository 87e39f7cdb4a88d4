"""Eight devices for a script, and a count of what they exchange."""

import os
import re
from collections import Counter

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
os.environ["JAX_PLATFORMS"] = "cpu"

KINDS = "all-gather|all-to-all|collective-permute|all-reduce|reduce-scatter"


def collectives(compiled):
    """How often each kind is in a compiled program."""
    return Counter(re.findall(rf" ({KINDS})(?:-start)?\(", compiled.as_text()))


def gathered(compiled):
    """The shapes that a compiled program gathers."""
    found = re.findall(r"= \w+\[([\d,]*)\]\S* all-gather(?:-start)?\(", compiled.as_text())
    return [tuple(int(n) for n in shape.split(",") if n) for shape in found]
