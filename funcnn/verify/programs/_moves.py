"""Directions and steps in; how far a function's values move out."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree


def moves(f, leaves, held, dys, block, weights, rows, steps):
    """How far the sum of `dy * y` moves, a step after the other."""
    move = _move(f, leaves, held, block, weights)

    def change(base, point):
        moved = move(*point)
        base = [jnp.where(point[0] < 0, m, b) for m, b in zip(moved, base, strict=True)]
        return base, _change(moved, base, dys)

    # the first point, of no row, is where all start from: the function is in here once
    start = [jnp.zeros_like(dy) for dy in dys]
    return jax.lax.scan(change, start, _with_start(rows, steps))[1][1:]


def moves_at_once(f, leaves, held, dys, block, weights, rows, steps):
    """As `moves`, in a batch; and the values at the start, of the batch and plain."""
    move = _move(f, leaves, held, block, weights)
    moved = jax.vmap(move)(*_with_start(rows, steps))
    base = [m[0] for m in moved]
    total = jax.vmap(lambda moved: _change(moved, base, dys))([m[1:] for m in moved])
    return total, base, f(leaves, held)


def _move(f, leaves, held, block, weights):
    """The function's values, moved by a step along a direction."""
    flat, unravel = ravel_pytree(leaves)

    def move(row, h):
        u = jnp.where(block == row, weights, 0)
        return f(unravel(jnp.where(u == 0, flat, flat + h * u)), held)

    return move


def _with_start(rows, steps):
    return jnp.pad(rows, (1, 0), constant_values=-1), jnp.pad(steps, (1, 0))


def _change(moved, base, dys):
    """The change of `dy * y`, summed over the outputs."""
    total: Any = 0
    for m, b, dy in zip(moved, base, dys, strict=True):
        # equal infinities have not moved
        apart = jnp.where(m == b, 0, m - b)
        total += jnp.vdot(jnp.where(jnp.isfinite(b), dy, 0), apart)
    return total


def near(a, b):
    """Whether arrays are the same but for rounding."""
    with np.errstate(all="ignore"):
        scale = np.abs(b[np.isfinite(b)]).max(initial=0)
        return np.allclose(a, b, rtol=1e-9, atol=1e-9 * scale, equal_nan=True)
