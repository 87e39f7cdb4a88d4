"""An optimizer in, one out that makes one update of several gradients.

For batches larger than memory.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from funcnn.foundation._checks import integer
from funcnn.foundation._dtypes import accumulator
from funcnn.optim.protocol._leaves import leafwise
from funcnn.optim.protocol._optimizer import Optimizer, extended
from funcnn.optim.protocol._rates import tells, told_by_inner
from funcnn.optim.protocol._trees import check_own, checked, float_leaves, match


class AccumulateState(NamedTuple):
    """Gradients seen so far, the sum of those since the last update, the inner state.

    The sum is of gradients times what they count, and `counted` the sum of that.
    """

    step: chex.Array
    counted: chex.Array
    total: chex.ArrayTree
    inner: chex.ArrayTree


def accumulate(optimizer: Optimizer, every: int) -> Optimizer:
    """Let an optimizer make one update of the mean of `every` gradients.

    `update` takes a `count` by name, the number of examples that a gradient is the mean of,
    and the mean of gradients is weighted by it: so it is that of one large batch, where not
    all examples count. `train.make_step` passes it on from a loss that returns a
    `losses.Average`. Without one, each gradient weighs as much as any other.

    Between, updates are 0 and its state, with the step that schedules see, stays. Weights
    that decay, or an average of them, move with the update alone.

    Args:
        optimizer: ours or optax's.
        every: how many gradients to an update, at least 1.

    Returns:
        An `Optimizer`. The sum has at least float32, updates the gradients' dtypes.

    Raises:
        TypeError: if `optimizer` has no `init` and `update`, or a leaf is not
            floating-point.
        ValueError: if `every` is less than 1, or gradients do not match the params.
    """
    step_of = extended("accumulate", optimizer)
    every = integer("accumulate", "every", every, minimum=1)

    def init(params):
        params = float_leaves("accumulate", "params", params)
        total = jax.tree.map(lambda w: jnp.zeros(w.shape, accumulator(w.dtype)), params)
        step, count = jnp.zeros((), jnp.int32), jnp.zeros((), jnp.float32)
        return AccumulateState(step, count, total, optimizer.init(params))

    def update(grads, state, params=None, *, count=1.0, **extra):
        check_own("accumulate", state, AccumulateState)
        grads = checked("accumulate", grads, params)
        match("accumulate", "gradients", grads, state.total, "the sum in its state")
        count = jnp.asarray(count, jnp.float32)
        total = leafwise(lambda t, g, n: t + g * n, (state.total, grads), count)
        count = state.counted + count

        def moved():
            whole = jnp.where(count == 0, 1, count)  # no example counted
            mean = leafwise(lambda g, t, n: t / n, (grads, total), whole)
            updates, inner = step_of(mean, state.inner, params, **extra)
            updates = jax.tree.map(lambda u, g: u.astype(g.dtype), updates, grads)
            return updates, inner, *jax.tree.map(jnp.zeros_like, (count, total))

        def stayed():
            return jax.tree.map(jnp.zeros_like, grads), state.inner, count, total

        step = state.step + 1
        updates, inner, count, total = jax.lax.cond(step % every == 0, moved, stayed)
        return updates, AccumulateState(step, count, total, inner)

    return Optimizer(init, tells(update, told_by_inner(optimizer)))
