"""Byte-pair encoding (Sennrich et al., 2015, arXiv:1508.07909), of characters.

Tokens are characters at first; then the two neighbours that are most often side by side
become one token, again and again, but never across the borders of words.
"""

from typing import NamedTuple

import numpy as np


class Codec(NamedTuple):
    """The text of each token, and the pairs that were merged, in order."""

    pieces: list[str]
    merges: list[tuple[int, int]]


def learn(text: str, characters: list[str], size: int) -> Codec:
    """Return a vocabulary of at most `size` tokens, made for a text.

    Args:
        text: what pairs are counted in.
        characters: those that texts may hold; each is a token, whatever the size.
        size: how many tokens there are to be; fewer if no pair comes twice.
    """
    codec = Codec(list(characters), [])
    ids = encode(codec, text)
    while len(codec.pieces) < size:
        n = len(codec.pieces)
        counts = np.bincount(ids[:-1] * n + ids[1:], minlength=n * n).reshape(n, n)
        counts *= may_join(codec.pieces)
        first, second = divmod(int(counts.argmax()), n)
        if counts[first, second] < 2:
            break
        codec.merges.append((first, second))
        codec.pieces.append(codec.pieces[first] + codec.pieces[second])
        ids = merge(ids, first, second, n)
    return codec


def may_join(pieces):
    """Which tokens may be followed by which in one token; a form feed stays alone.

    Blanks by blanks; letters and digits by such, after one space at most; and any other
    character by itself, as in a line of dashes.
    """
    blank = np.array([p.isspace() and p != "\f" for p in pieces])
    letters = np.array([p.replace("_", "a").isalnum() for p in pieces])
    word = np.array([p.lstrip(" ").replace("_", "a").isalnum() for p in pieces])
    space = np.array([p == " " for p in pieces])
    mark = np.array([0 if p[0].isspace() else ord(p[0]) for p in pieces])
    return (
        blank[:, None] & blank
        | (space | word)[:, None] & letters
        | (mark[:, None] == mark) & (mark > 0)
    )


def merge(ids, first, second, new):
    """Make one token of each pair; where pairs overlap, of the first, third and so on."""
    at = np.flatnonzero((ids[:-1] == first) & (ids[1:] == second))
    if first == second:
        i = np.arange(len(at))
        runs = np.maximum.accumulate(np.where(np.diff(at, prepend=-2) > 1, i, 0))
        at = at[(i - runs) % 2 == 0]
    ids = ids.copy()
    ids[at] = new
    return np.delete(ids, at + 1)


def encode(codec: Codec, text: str) -> np.ndarray:
    """The tokens of a text.

    Raises:
        KeyError: if it has characters that the vocabulary has not.
    """
    start = len(codec.pieces) - len(codec.merges)
    index = {piece: i for i, piece in enumerate(codec.pieces[:start])}
    ids = np.array([index[c] for c in text], np.int64)
    for new, (first, second) in enumerate(codec.merges, start):
        ids = merge(ids, first, second, new)
    return ids


def decode(codec: Codec, ids: np.ndarray) -> str:
    """The text of tokens."""
    return "".join(codec.pieces[i] for i in np.asarray(ids).tolist())
