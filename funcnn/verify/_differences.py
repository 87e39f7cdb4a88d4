r"""Derivatives from function values alone.

For $\phi(h) = \langle \bar y, f(a + h u) \rangle$ the central difference
$D(h) = (\phi(h) - \phi(-h)) / 2h$ is off by $O(h^2)$, and Richardson's
$R(h) = (4 D(h/2) - D(h)) / 3$ by $O(h^4)$; rounding adds $O(\varepsilon / h)$. No step
suits every function and argument, so a ladder of steps is tried, halving from a twentieth
of the argument's largest element, and the step taken at which three neighbours agree best.
Their disagreement, with the rounding of the values they come from, is the error reported
(in the spirit of Ridders, 1982). At a kink the two one-sided derivatives differ, and a
rule may return anything between them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

RUNGS = 30


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
        flat = np.concatenate([np.ravel(ct) for ct in cts])
        terms = np.where(self.weights == 0, 0, self.weights * np.nan_to_num(flat))
        return np.bincount(self.block, terms, len(self.leaf))


def directions(leaves, seed, limit=128) -> Directions:
    """Directions that together touch every finite element of every leaf.

    A leaf of at most `limit` elements gets one for each element; a larger one is dealt
    out into `limit` blocks with random weights, so that a fault in one element shows.
    """
    rng = np.random.default_rng(seed)
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
        np.concatenate(block), np.concatenate(weights), np.array(leaf), np.array(scale)
    )


class Slopes(NamedTuple):
    """Derivatives along directions: central with its error, and one-sided."""

    central: np.ndarray
    error: np.ndarray
    low: np.ndarray
    high: np.ndarray


def slopes(f, leaves, dys, d: Directions, jit=jax.jit) -> tuple[np.ndarray, Slopes]:
    """Differentiate `sum(dy * y)` over the outputs of `f(*leaves)` along directions.

    Returns the slopes by the function's own pullback, and those by differences. Infinite
    outputs, whose change no difference can tell, have no part in either.
    """
    steps = 0.05 * d.scale * 2.0 ** -np.arange(RUNGS)[:, None]

    def changes(leaves, dys, grid):
        flat, unravel = ravel_pytree(leaves)
        base, vjp = jax.vjp(f, *leaves)
        dys = [jnp.where(jnp.isfinite(b), dy, 0) for b, dy in zip(base, dys, strict=True)]

        def change(point):
            h, row = point
            u = jnp.where(jnp.asarray(d.block) == row, jnp.asarray(d.weights), 0)
            moved = f(*unravel(jnp.where(u == 0, flat, flat + h * u)))
            # equal infinities have not moved
            apart = [jnp.where(m == b, 0, m - b) for m, b in zip(moved, base, strict=True)]
            return sum(jnp.vdot(dy, a) for dy, a in zip(dys, apart, strict=True))

        size = sum(
            jnp.vdot(abs(dy), jnp.where(jnp.isfinite(b), abs(b), 0))
            for dy, b in zip(dys, base, strict=True)
        )
        return vjp(dys), jax.lax.map(change, grid), size

    rows = np.broadcast_to(np.arange(len(d.leaf)), (2, *steps.shape))
    grid = (np.stack([steps, -steps]).ravel(), rows.ravel())
    cts, found, size = jit(changes)(leaves, dys, grid)
    # differences of values that are rounded tell no more than this
    noise = np.finfo(float).eps * float(size) / steps[1:]
    right, left = np.asarray(found).reshape(2, *steps.shape) / np.stack([steps, -steps])
    with np.errstate(invalid="ignore"):
        central = (right + left) / 2
        middle, error = _steadiest((4 * central[1:] - central[:-1]) / 3, noise)
        left, left_error = _steadiest(2 * left[1:] - left[:-1], noise)
        right, right_error = _steadiest(2 * right[1:] - right[:-1], noise)
    slack = left_error + right_error
    return d.products(cts), Slopes(
        middle, error, np.minimum(left, right) - slack, np.maximum(left, right) + slack
    )


def _steadiest(estimates, noise):
    """For each column the entry that its neighbours agree with best, and how well."""
    jumps = np.abs(np.diff(estimates, axis=0))
    jumps = np.where(np.isnan(jumps), np.inf, jumps)
    worst = np.maximum(jumps[:-1], jumps[1:]) + noise[1:-1]
    best = worst.argmin(0)[None]
    picked = np.take_along_axis(estimates[1:-1], best, 0)[0]
    return picked, np.take_along_axis(worst, best, 0)[0]
