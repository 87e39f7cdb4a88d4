r"""Training of low-precision params: rounding by chance, or a copy in float32.

Where an update is less than half of the gap between neighbouring numbers, 0.4% to 0.8% in
bfloat16, $W + u$ rounded to nearest is $W$, and training stands still. Either $W + u$ is
rounded by chance, so that it is right in the mean (Gupta et al., 2015, arXiv:1502.02551),
or the sum is kept in float32 and params are its rounding (Micikevicius et al., "Mixed
precision training", 2018, arXiv:1710.03740).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from funcnn.foundation._dtypes import accumulator
from funcnn.optim.precision._memory import stochastic, uniform
from funcnn.optim.protocol._optimizer import Optimizer, extended
from funcnn.optim.protocol._trees import flatten, float_leaves, match, need_params

SALT = 0x5EED  # apart from the salts that moments are rounded with


class RoundingState(NamedTuple):
    """Updates made so far, which decide what chance does, and the optimizer's state."""

    step: jax.Array
    inner: Any


class MasterState(NamedTuple):
    """Params in at least float32, and the optimizer's state, which is of those."""

    params: Any
    inner: Any


def stochastic_rounding(optimizer: Optimizer) -> Optimizer:
    """Round the sum of bfloat16 params and updates by chance, right in the mean.

    Outermost, as it has to see the updates that are applied. Gradients reach the
    optimizer in float32, and updates of low-precision params come in it: their sum with
    params is a bfloat16 number already.

    Args:
        optimizer: ours or optax's; moments are in float32 with `moments=float32`.

    Returns:
        An `Optimizer` whose `update` needs params. What chance does is decided by the
        step, so that runs repeat. Params of other dtypes are updated as ever.

    Raises:
        TypeError: if `optimizer` has no `init` and `update`, or a leaf is not
            floating-point.
        ValueError: if `update` gets no params, or gradients do not match them.
    """
    name = "stochastic_rounding"
    step_of = extended(name, optimizer)

    def init(params):
        return RoundingState(jnp.zeros((), jnp.int32), optimizer.init(params))

    def update(grads, state, params=None, **extra):
        need_params(name, params, "their sum with updates is rounded")
        match(name, "gradients", grads, params)
        updates, inner = step_of(
            wide(name, "gradients", grads), state.inner, params, **extra
        )
        step = state.step + 1
        leaves, tree = flatten(updates)
        ws = [jnp.asarray(w) for w in tree.flatten_up_to(params)]
        rounded = [
            difference(u, w, step, SALT + i)
            for i, (u, w) in enumerate(zip(leaves, ws, strict=True))
        ]
        return tree.unflatten(rounded), RoundingState(step, inner)

    return Optimizer(init, update)


def difference(u, w, step, salt):
    """What takes `w` to a bfloat16 number that has `w + u` as mean."""
    if w.dtype != jnp.bfloat16:
        return u
    before = w.astype(jnp.float32)
    total = before + u.astype(jnp.float32)
    after = stochastic(total, w.dtype, uniform(w.shape, step, salt))
    return after.astype(jnp.float32) - before


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
        copies = jax.tree.map(
            lambda a: jnp.array(a, copy=True), wide(name, "params", params)
        )
        return MasterState(copies, optimizer.init(copies))

    def update(grads, state, params=None, **extra):
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

    return Optimizer(init, update)


def rounded(master, w):
    """What params of the dtype of `w` can hold of the copy."""
    info = jnp.finfo(w.dtype)
    return jax.lax.reduce_precision(master, info.nexp, info.nmant)


def wide(name, what, tree):
    """A tree of arrays in at least float32."""
    return jax.tree.map(
        lambda a: a.astype(accumulator(a.dtype)), float_leaves(name, what, tree)
    )
