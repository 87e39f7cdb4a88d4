"""A strong model of characters without a network: Kneser and Ney's, as a baseline.

Interpolated, with the three discounts of Chen and Goodman (1999), "An empirical study of
smoothing techniques for language modeling": with c the counts of what follows a history h,

    p(w | h) = (c(h w) - D(c(h w))) / c(h) + gamma(h) p(w | h without its oldest)

where D takes one number from counts of 1, another from 2 and a third from more, and
gamma(h) makes the sum 1. Below the highest order a count is not how often an n-gram was
seen, but after how many different characters. The lowest order falls back on all
characters alike.
"""

from typing import NamedTuple

import numpy as np

BITS = 7  # of a character in the code of an n-gram, which is an integer of 63 bits
LONGEST = 63 // BITS


class Order(NamedTuple):
    """Sorted codes of n-grams and histories, and what they stand for."""

    grams: np.ndarray
    discounted: np.ndarray  # the count of each n-gram, less its discount
    histories: np.ndarray
    totals: np.ndarray  # the sum of counts after each history
    left: np.ndarray  # the share of it that the discounts took, gamma


def fit(ids: np.ndarray, order: int) -> list[Order]:
    """Return the orders 1 to `order` of the model of a text, whose ends are joined.

    Raises:
        ValueError: if the order is not from 1 to 9, or an id needs more than 7 bits.
    """
    if not 1 <= order <= LONGEST:
        raise ValueError(f"fit needs an order from 1 to {LONGEST}; got {order}.")
    if ids.min() < 0 or ids.max() >> BITS:
        raise ValueError(f"fit needs ids of {BITS} bits; got {ids.min()} to {ids.max()}.")
    before = np.concatenate([ids[len(ids) - order + 1 :], ids])
    grams, counts = np.unique(codes(before, order)[order - 1 :], return_counts=True)
    orders = []
    for n in range(order, 0, -1):
        orders.append(smooth(grams, counts))
        shorter = grams & ((1 << BITS * (n - 1)) - 1)
        grams, counts = np.unique(shorter, return_counts=True)
    return orders[::-1]


def codes(ids: np.ndarray, n: int) -> np.ndarray:
    """The code of the n characters that end at each place; zeros come before the first."""
    code = np.zeros(len(ids), np.int64)
    for back in range(min(n, len(ids))):
        code[back:] |= ids[: len(ids) - back].astype(np.int64) << BITS * back
    return code


def smooth(grams, counts):
    """Discount the counts of one order."""
    ones, twos, threes, fours = (max(1, (counts == c).sum()) for c in (1, 2, 3, 4))
    y = ones / (ones + 2 * twos)
    discounts = np.array([1 - 2 * y * twos / ones, 2 - 3 * y * threes / twos])
    discounts = np.append(discounts, 3 - 4 * y * fours / threes).clip(
        0.05, [0.95, 1.9, 2.8]
    )
    taken = discounts[np.minimum(counts, 3) - 1]
    histories, first = np.unique(grams >> BITS, return_index=True)
    totals = np.add.reduceat(counts, first)
    left = np.add.reduceat(taken, first) / totals
    return Order(grams, counts - taken, histories, totals, left)


def probabilities(model: list[Order], ids: np.ndarray, vocabulary: int) -> np.ndarray:
    """The probability of each character after those before it, in float64.

    Args:
        model: what `fit` returned.
        ids: a text of shape (T,).
        vocabulary: how many different characters there could be.
    """
    p = np.full(len(ids), 1 / vocabulary)
    for n, order in enumerate(model, 1):
        code = codes(ids, n)
        seen, at = find(order.histories, code >> BITS)
        seen &= np.arange(len(ids)) >= n - 1  # a history that the text is too short for
        hit, place = find(order.grams, code)
        direct = np.where(hit, order.discounted[place], 0) / order.totals[at]
        p = np.where(seen, direct + order.left[at] * p, p)
    return p


def find(table, values):
    """Which values are in a sorted table, and where."""
    at = np.searchsorted(table, values).clip(max=len(table) - 1)
    return table[at] == values, at


def bits(model: list[Order], ids: np.ndarray, vocabulary: int) -> float:
    """The mean of -log2 of the probability of each character but the first."""
    return float(-np.log2(probabilities(model, ids, vocabulary)[1:]).mean())


def choose(learn: np.ndarray, judge: np.ndarray, vocabulary: int) -> int:
    """The order that, fitted on one text, gives another the fewest bits."""
    tried = range(1, LONGEST + 1)
    return min(tried, key=lambda n: bits(fit(learn, n), judge, vocabulary))
