"""An optimizer in, one out that skips gradients which are not finite."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from funcnn.foundation._checks import integer
from funcnn.optim.protocol._optimizer import Optimizer, extended
from funcnn.optim.protocol._rates import tells, told_by_inner
from funcnn.optim.protocol._trees import check_own, checked


class FiniteState(NamedTuple):
    """How many bad gradients there were in a row, and in all, and the inner state."""

    row: chex.Array
    total: chex.Array
    inner: chex.ArrayTree


def apply_if_finite(optimizer: Optimizer, most: int) -> Optimizer:
    """Skip updates whose gradients hold a NaN or an inf, state and all.

    Args:
        optimizer: ours or optax's.
        most: how many in a row to skip, at least 0; the next one goes through, so that a
            fault that lasts shows.

    Returns:
        An `Optimizer`.

    Raises:
        TypeError: if `optimizer` has no `init` and `update`, or a leaf is not
            floating-point.
        ValueError: if `most` is negative.
    """
    step_of = extended("apply_if_finite", optimizer)
    most = integer("apply_if_finite", "most", most, minimum=0)

    def init(params):
        row, total = jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)  # two, to donate
        return FiniteState(row, total, optimizer.init(params))

    def update(grads, state, params=None, **extra):
        check_own("apply_if_finite", state, FiniteState)
        grads = checked("apply_if_finite", grads, params)
        finite = all_finite(grads)
        row = jnp.where(finite, 0, state.row + 1)

        def moved():
            updates, inner = step_of(grads, state.inner, params, **extra)
            return jax.tree.map(lambda u, g: u.astype(g.dtype), updates, grads), inner

        def stayed():
            return jax.tree.map(jnp.zeros_like, grads), state.inner

        updates, inner = jax.lax.cond(finite | (row > most), moved, stayed)
        total = state.total + (~finite).astype(jnp.int32)
        return updates, FiniteState(row, total, inner)

    return Optimizer(init, tells(update, told_by_inner(optimizer)))


def all_finite(tree):
    """Whether no leaf holds a NaN or an inf."""
    leaves = [jnp.isfinite(a).all() for a in jax.tree.leaves(tree)]
    return jnp.stack(leaves).all() if leaves else jnp.asarray(True)
