r"""An optimizer in, one out whose weights return to slow ones: lookahead.

Any optimizer moves the weights $W$. After every $k$-th of its steps, the slow weights $V$
follow and the fast ones return to them:

$$V \leftarrow V + \alpha\,(W - V), \qquad W \leftarrow V.$$

Zhang, Lucas, Hinton & Ba, "Lookahead optimizer: k steps forward, 1 step back", 2019,
arXiv:1907.08610. optax does alike, with pairs of fast and slow params; here the slow ones
are in the state, so that params are what they always were.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from funcnn.foundation._checks import integer
from funcnn.optim.protocol._leaves import leafwise
from funcnn.optim.protocol._optimizer import Optimizer, extended
from funcnn.optim.protocol._rates import hyperparameter, tells, told_by_inner
from funcnn.optim.protocol._trees import check_own, float_leaves, match, need_params


class LookaheadState(NamedTuple):
    """Updates made so far, the slow weights like params, and the optimizer's state."""

    step: chex.Array
    slow: chex.ArrayTree
    inner: chex.ArrayTree


def lookahead(optimizer: Optimizer, every: int = 5, alpha: chex.Numeric = 0.5) -> Optimizer:
    r"""Let slow weights follow an optimizer's, and start it from them again.

    Args:
        optimizer: ours or optax's.
        every: $k$, at least 1.
        alpha: $\alpha$ in [0, 1]: how far the slow weights follow.

    Returns:
        An `Optimizer` whose `update` needs params.

    Raises:
        TypeError: if `optimizer` has no `init` and `update`, a hyperparameter is no
            number, or a leaf is not floating-point.
        ValueError: if a hyperparameter lies outside its range, `update` gets no params,
            or gradients do not match the params.
    """
    step_of = extended("lookahead", optimizer)
    every = integer("lookahead", "every", every, minimum=1)
    hyperparameter("lookahead", "alpha", alpha, most=1)

    def init(params):
        params = float_leaves("lookahead", "params", params)
        slow = jax.tree.map(lambda w: jnp.array(w, w.dtype, copy=True), params)
        return LookaheadState(jnp.zeros((), jnp.int32), slow, optimizer.init(params))

    def update(grads, state, params=None, **extra):
        check_own("lookahead", state, LookaheadState)
        need_params("lookahead", params, "slow weights follow them")
        match("lookahead", "gradients", grads, params)
        match("lookahead", "gradients", grads, state.slow, "the slow weights in its state")
        moves, inner = step_of(grads, state.inner, params, **extra)
        step = state.step + 1
        meets = (step % every == 0).astype(jnp.float32)
        trees = state.slow, params, moves
        slow = leafwise(lambda v, w, u, a, m: v + m * a * (w + u - v), trees, alpha, meets)
        trees = moves, params, slow
        updates = leafwise(lambda u, w, v, m: m * (v - w) + (1 - m) * u, trees, meets)
        return updates, LookaheadState(step, slow, inner)

    return Optimizer(init, tells(update, told_by_inner(optimizer)))
