"""The text of the language model: what Python's own help says about the language.

About 370,000 characters in some 78 topics. Many paragraphs are part of several topics, word
for word; here each is kept once, so that none of those held back was learned from.
"""

from pydoc_data.topics import topics
from typing import NamedTuple

import numpy as np

SHARE = 0.1  # of the characters, held back
START = "\f"  # before each topic


class Text(NamedTuple):
    """Topics to learn from, and others that are held back, as one text each."""

    train: str
    test: str
    held_back: list[str]

    @property
    def characters(self) -> list[str]:
        """All that there are, sorted."""
        return sorted(set(self.train + self.test))


def load(seed: int) -> Text:
    """Hold whole topics back, as the seed decides."""
    bodies = once(topics)
    test = hold_back(bodies, seed)
    train = [name for name in bodies if name not in test]
    return Text(joined(bodies, train), joined(bodies, test), test)


def once(topics: dict[str, str]) -> dict[str, str]:
    """The topics by name, each paragraph where it comes first, and nowhere else."""
    seen: set[str] = set()
    bodies = {}
    for name in sorted(topics):
        paragraphs = topics[name].strip().split("\n\n")
        new = [p for p in dict.fromkeys(paragraphs) if p not in seen]
        seen.update(new)
        if new:
            bodies[name] = "\n\n".join(new)
    return bodies


def hold_back(bodies: dict[str, str], seed: int) -> list[str]:
    """Names of topics in random order, as long as their share is not exceeded."""
    room = SHARE * sum(map(len, bodies.values()))
    names = []
    for name in np.random.default_rng(seed).permutation(sorted(bodies)).tolist():
        if len(bodies[name]) <= room:
            names.append(name)
            room -= len(bodies[name])
    return sorted(names)


def joined(bodies, names):
    return "".join(START + bodies[name] + "\n" for name in names)
