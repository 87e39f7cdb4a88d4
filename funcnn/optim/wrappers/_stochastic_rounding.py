r"""An optimizer in, one out whose sums with low-precision params are rounded by chance.

Where an update is less than half of the gap between neighbouring numbers, 0.4% to 0.8% in
bfloat16, $W + u$ rounded to nearest is $W$, and training stands still. Rounded by chance,
it is right in the mean (Gupta et al., 2015, arXiv:1502.02551).
"""

from typing import NamedTuple

import chex
import jax.numpy as jnp

from funcnn.optim.precision._rounding import stochastic, uniform
from funcnn.optim.protocol._leaves import wide
from funcnn.optim.protocol._optimizer import Optimizer, extended
from funcnn.optim.protocol._rates import tells, told_by_inner
from funcnn.optim.protocol._trees import check_own, flatten, match, need_params

SALT = 0x5EED  # apart from the salts that moments are rounded with


class RoundingState(NamedTuple):
    """Updates made so far, which decide what chance does, and the optimizer's state."""

    step: chex.Array
    inner: chex.ArrayTree


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
        check_own(name, state, RoundingState)
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

    return Optimizer(init, tells(update, told_by_inner(optimizer)))


def difference(u, w, step, salt):
    """What takes `w` to a bfloat16 number that has `w + u` as mean."""
    if w.dtype != jnp.bfloat16:
        return u
    before = w.astype(jnp.float32)
    total = before + u.astype(jnp.float32)
    after = stochastic(total, w.dtype, uniform(w.shape, step, salt))
    return after.astype(jnp.float32) - before
