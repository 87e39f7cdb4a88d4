r"""Derivatives from function values alone.

For $\phi(h) = \langle \bar y, f(a + h u) \rangle$ the central difference
$D(h) = (\phi(h) - \phi(-h)) / 2h$ is off by $O(h^2)$, and Richardson's
$R(h) = (4 D(h/2) - D(h)) / 3$ by $O(h^4)$; rounding adds $O(\varepsilon / h)$. No step
suits every function and argument, so a ladder of steps is tried, halving from a twentieth
of the argument's largest element, and the step taken at which three neighbours agree best.
Their disagreement, with the rounding of the values they come from, is the error reported
(in the spirit of Ridders, 1982). At a kink the two one-sided derivatives differ, and a
rule may return anything between them. The ladder is climbed down only as far as is needed.

Taylor's remainder $\phi(h) - \phi(0) - h\,\dot\phi$ shrinks as $h^2$ if $\dot\phi$ is the
derivative, and as $h$ if not, whatever the function's scale.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from funcnn.verify.functions._cotangents import stream

RUNGS = 5  # in a flight: enough for a function that is linear in what moves
FLIGHTS = 12  # at most
SETTLED = 1e-7


class Directions(NamedTuple):
    """Directions in the space of all leaves together, each within one leaf.

    Direction `r` is `weights` where `block == r`, and zero elsewhere; `leaf[r]` says
    which leaf it moves and `scale[r]` how large that leaf is.
    """

    block: np.ndarray
    weights: np.ndarray
    leaf: np.ndarray
    scale: np.ndarray

    def products(self, cts):
        """The inner product of each direction with cotangents of all leaves."""
        return self._sums(self.weights * self._flat(cts))

    def ranges(self, low, high):
        """The least and the greatest of the products, for cotangents between bounds."""
        ends = self.weights * self._flat(low), self.weights * self._flat(high)
        return self._sums(np.minimum(*ends)), self._sums(np.maximum(*ends))

    def _flat(self, cts):
        return np.nan_to_num(np.concatenate([np.ravel(ct) for ct in cts]))

    def _sums(self, terms):
        terms = np.where(self.weights == 0, 0, terms)
        return np.bincount(self.block, terms, len(self.leaf))[: len(self.leaf)]


def directions(leaves, seed, limit=128) -> Directions:
    """Directions that together touch every finite element of every leaf.

    A leaf of at most `limit` elements gets one for each element; a larger one is dealt
    out into `limit` blocks with random weights, so that a fault in one element shows.
    """
    rng = stream(seed, "directions")
    block, weights, scale = [], [], []
    leaf: list[int] = []
    for i, a in enumerate(np.asarray(leaf).ravel() for leaf in leaves):
        finite = np.isfinite(a)
        if a.size <= limit:
            deal, w = np.arange(a.size), np.ones(a.size)
        else:
            deal = rng.permutation(a.size) % limit
            w = rng.choice([-1, 1], a.size) * rng.uniform(0.5, 1.5, a.size)
        count = min(a.size, limit)
        block.append(deal + len(leaf))
        weights.append(w * finite)
        leaf += [i] * count
        scale += [abs(a[finite]).max(initial=0.0) or 1.0] * count
    return Directions(
        np.concatenate(block),
        np.concatenate(weights),
        np.array(leaf, int),
        np.array(scale, float),
    )


def everywhere(leaves, seed) -> Directions:
    """One direction that moves all leaves together, each as far as it is large."""
    rng = stream(seed, "directions")
    weights = []
    for a in (np.ravel(leaf) for leaf in leaves):
        finite = np.isfinite(a)
        scale = abs(a[finite]).max(initial=0.0) or 1.0
        weights.append(np.where(finite, scale * rng.uniform(-1, 1, a.size), 0))
    flat = np.concatenate(weights)
    return Directions(np.zeros(flat.size, int), flat, np.zeros(1, int), np.ones(1))


class Slopes(NamedTuple):
    """Derivatives along directions: central with its error, and one-sided.

    `low` and `high` are the one-sided slopes and beyond these `slack`, their error.
    `support` has the steps' central slopes and errors that are nearly as certain as the
    best, of shape (steps, directions), nan elsewhere.
    """

    central: np.ndarray
    error: np.ndarray
    low: np.ndarray
    high: np.ndarray
    slack: np.ndarray
    support: tuple[np.ndarray, np.ndarray]


# moves(directions, rows, steps): how far <dy, f> moves along each row's direction by each
# step, two arrays of one length.
Moves = Callable[[Directions, np.ndarray, np.ndarray], np.ndarray]


def slopes(moves: Moves, size: float, eps: float, d: Directions, products) -> Slopes:
    """Differentiate along directions, down the ladder until `products` are confirmed.

    `size` is that of the terms which `moves` adds up, and `eps` their relative rounding.
    """
    count = len(d.leaf)
    right = np.full((RUNGS * FLIGHTS, count), np.nan)
    left = right.copy()
    steps = 0.05 * d.scale * 2.0 ** -np.arange(len(right))[:, None]
    open_rows = np.arange(count)
    for flight in range(FLIGHTS):
        rungs = slice(RUNGS * flight, RUNGS * (flight + 1))
        h = steps[rungs, open_rows]
        both = np.stack([h, -h])
        rows = np.broadcast_to(open_rows, both.shape)
        moved = moves(d, rows.ravel(), both.ravel()).reshape(both.shape)
        right[rungs, open_rows], left[rungs, open_rows] = moved / both
        found = _read(right, left, steps, size * eps)
        scale = _scale(found.central, d.leaf)
        settled = found.error <= SETTLED * scale
        if products is not None:
            settled &= abs(products - found.central) <= SETTLED * scale
        open_rows = np.flatnonzero(~settled)
        if not open_rows.size:
            break
    return found


def _scale(central, leaf):
    """The steepest known slope of each direction's leaf."""
    steepest = np.zeros(leaf.max(initial=0) + 1)
    np.maximum.at(steepest, leaf, np.nan_to_num(abs(central), posinf=0.0))
    return np.where(steepest > 0, steepest, 1.0)[leaf]


def _read(right, left, steps, rounding):
    # differences of values that are rounded tell no more than this
    noise = rounding / steps[1:]
    with np.errstate(invalid="ignore"):
        central = (right + left) / 2
        estimates = (4 * central[1:] - central[:-1]) / 3
        middle, error, errors = _steadiest(estimates, noise)
        left, left_error, _ = _steadiest(2 * left[1:] - left[:-1], noise)
        right, right_error, _ = _steadiest(2 * right[1:] - right[:-1], noise)
    slack = left_error + right_error
    near = errors <= np.maximum(error, 1e-6 * abs(estimates[1:-1]))
    support = np.where(near, estimates[1:-1], np.nan), np.where(near, errors, np.nan)
    low, high = np.minimum(left, right) - slack, np.maximum(left, right) + slack
    return Slopes(middle, error, low, high, slack, support)


def _steadiest(estimates, noise):
    """For each column the entry that its neighbours agree with best, and how well."""
    jumps = np.abs(np.diff(estimates, axis=0))
    jumps = np.where(np.isnan(jumps), np.inf, jumps)
    worst = np.maximum(jumps[:-1], jumps[1:]) + noise[1:-1]
    best = worst.argmin(0)[None]
    picked = np.take_along_axis(estimates[1:-1], best, 0)[0]
    return picked, np.take_along_axis(worst, best, 0)[0], worst


class Remainder(NamedTuple):
    """How Taylor's remainder along one direction shrinks: as `h ** order`.

    `slope` is the function's slope there, `error` the remainder over the step, relative to
    the size of the slope's terms, where the order was read off.
    """

    order: float
    slope: float
    error: float


def remainder(moves: Moves, size, eps, d: Directions, product, terms) -> Remainder | None:
    """Read off the order at the smallest steps that rounding lets through.

    None where there is nothing to read: the function is linear to within its rounding, or
    is not smooth there, or not finite.
    """
    h = 0.05 * 2.0 ** -np.arange(30)
    both = np.concatenate([h, -h])
    ahead, back = np.split(moves(d, np.zeros(len(both), int), both), 2)
    with np.errstate(all="ignore"):
        odd, even = (ahead - back) / 2 - h * product, (ahead + back) / 2
        clear = (abs(odd) > 100 * eps * size) & (abs(odd) > 1e-6 * h * terms)
        clear &= np.isfinite(odd) & np.isfinite(even)
        if clear.sum() < 5 or not clear[5:].any():
            return None
        last = np.flatnonzero(clear)[-4:]
        if last[-1] - last[0] != 3:
            return None
        orders = -np.diff(np.log2(abs(odd[last])))
        kinks = -np.diff(np.log2(abs(even[last])))
    if (abs(even[last]) > 100 * eps * size).all() and np.median(kinks) < 1.5:
        return None
    if np.ptp(orders) > 0.2:
        return None
    end = last[-1]
    slope = product + odd[end] / h[end]
    return Remainder(
        float(np.median(orders)), float(slope), float(abs(odd[end]) / h[end] / terms)
    )
