"""An optimizer in, one out that trains a float32 copy of low-precision params.

Where an update is less than half of the gap between neighbouring numbers, 0.4% to 0.8% in
bfloat16, params in bfloat16 would stand still. The sum is kept in float32, and params are
its rounding (Micikevicius et al., "Mixed precision training", 2018, arXiv:1710.03740).
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from funcnn.optim.protocol._leaves import wide, wide_copy
from funcnn.optim.protocol._optimizer import Optimizer, extended
from funcnn.optim.protocol._rates import tells, told_by_inner
from funcnn.optim.protocol._trees import check_own, match, need_params


class MasterState(NamedTuple):
    """Params in at least float32, and the optimizer's state, which is of those."""

    params: chex.ArrayTree
    inner: chex.ArrayTree


def master_weights(optimizer: Optimizer) -> Optimizer:
    """Keep params in float32 in the state, and round what is trained from them.

    Outermost. Costs a float32 copy of the params, and gives what training in float32 from
    the same gradients would.

    Args:
        optimizer: ours or optax's, which sees params and gradients in at least float32.

    Returns:
        An `Optimizer` whose `update` needs params, and returns updates in at least
        float32 for `apply_updates`.

    Raises:
        TypeError: if `optimizer` has no `init` and `update`, or a leaf is not
            floating-point.
        ValueError: if `update` gets no params, or gradients do not match them.
    """
    name = "master_weights"
    step_of = extended(name, optimizer)

    def init(params):
        copies = wide_copy(name, params)
        return MasterState(copies, optimizer.init(copies))

    def update(grads, state, params=None, **extra):
        check_own(name, state, MasterState)
        need_params(name, params, "updates lead from them to its own")
        match(name, "gradients", grads, params)
        match(name, "gradients", grads, state.params, "the params in its state")
        grads = wide(name, "gradients", grads)
        updates, inner = step_of(grads, state.inner, state.params, **extra)
        master = jax.tree.map(lambda m, u: m + u.astype(m.dtype), state.params, updates)
        steps = jax.tree.map(
            lambda m, w: rounded(m, jnp.asarray(w)) - jnp.asarray(w, m.dtype),
            master,
            params,
        )
        return steps, MasterState(master, inner)

    return Optimizer(init, tells(update, told_by_inner(optimizer)))


def rounded(master, w):
    """What params of the dtype of `w` can hold of the copy."""
    info = jnp.finfo(w.dtype)
    return jax.lax.reduce_precision(master, info.nexp, info.nmant)
