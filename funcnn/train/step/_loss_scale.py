r"""A factor of the loss that keeps float16 gradients in range.

float16 has no numbers between 0 and $6 \cdot 10^{-8}$, where gradients of activations often
are, nor above 65504. The gradient of $s L$ is $s$ times that of $L$: a scale $s$ moves it
into range, and dividing by $s$ in float32 takes it back. The right $s$ is not known and
changes, so it is grown until gradients overflow; that update is left out, and $s$ shrinks
(Micikevicius et al., "Mixed precision training", 2018, arXiv:1710.03740).
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from funcnn.foundation._checks import integer, number
from funcnn.foundation._dtypes import accumulator
from funcnn.optim.protocol._optimizer import Optimizer, extended
from funcnn.optim.protocol._rates import tells, told_by_inner
from funcnn.optim.protocol._trees import float_leaves
from funcnn.optim.wrappers._finite import all_finite


class LossScaled(NamedTuple):
    """The scale, what led to it, and the state of the optimizer inside.

    Attributes:
        scale: float32, of shape `()`.
        good_steps: finite gradients since it last changed, int32, of shape `()`.
        skipped: updates left out, likewise.
        row: those among them since the last that was made, likewise.
        inner: a pytree.
    """

    scale: jax.Array
    good_steps: jax.Array
    skipped: jax.Array
    row: jax.Array
    inner: Any


def dynamic_loss_scale(
    optimizer: Optimizer,
    initial: float = 2.0**15,
    growth_interval: int = 2000,
    factor: float = 2.0,
) -> Optimizer:
    """Scale the loss so that gradients neither vanish nor overflow in float16.

        clipped = optim.chain(optim.clip_by_global_norm(1.0), optim.adam(1e-3))
        optimizer = train.dynamic_loss_scale(clipped)
        step = train.make_step(loss, optimizer, compute_dtype="float16")

    `make_step` sees the scale in the optimizer's state and multiplies the loss by it, and
    the optimizer divides gradients by it. If they hold a NaN or an inf, the update is left
    out, to the bit, the state of the optimizer inside too, and the scale is divided by
    `factor`. After `growth_interval` finite gradients in a row it is multiplied by it. The
    step's count goes on in any case; `state.opt_state.skipped` tells of how many updates
    there were none, and `state.opt_state.row` how many in a row by now. A gradient that is
    NaN at any scale, as of `sqrt(0 * w)`, skips all updates, though the loss is finite:
    `fit` stops after 40 in a row, with the layer that it is from; a loop of one's own
    may look at `row`, and ask `first_nonfinite`.

    Args:
        optimizer: ours or optax's, which sees gradients without scale, in at least
            float32. Only outermost has this a meaning.
        initial: the scale at first, above 0.
        growth_interval: how many finite gradients in a row it takes to grow, at least 1.
        factor: of growth and of the way back, above 1. A power of 2 rounds nothing.

    Returns:
        An `Optimizer` with a state of `LossScaled`. Its `update` takes gradients of the
        scaled loss.

    Raises:
        TypeError: if `optimizer` has no `init` and `update`, or an argument is no number
            or, in `update`, a leaf is not floating-point.
        ValueError: if an argument is out of range.
    """
    name = "dynamic_loss_scale"
    step_of = extended(name, optimizer)
    initial = number(name, "initial", initial)
    if not 0 < initial < math.inf:
        raise ValueError(f"{name} needs a finite initial above 0; got {initial}.")
    growth_interval = integer(name, "growth_interval", growth_interval, minimum=1)
    factor = number(name, "factor", factor)
    if not 1 < factor < math.inf:
        raise ValueError(f"{name} needs a finite factor above 1; got {factor}.")

    def init(params):
        good, skipped, row = (jnp.zeros((), jnp.int32) for _ in range(3))  # 3, to donate
        scale, inner = jnp.float32(initial), optimizer.init(params)
        return LossScaled(scale, good, skipped, row, inner)

    def update(grads, state, params=None, **extra):
        grads = unscaled(float_leaves(name, "gradients", grads), state.scale)
        finite = all_finite(grads)

        def moved():
            updates, inner = step_of(grads, state.inner, params, **extra)
            updates = jax.tree.map(lambda u, g: u.astype(g.dtype), updates, grads)
            return updates, jax.tree.map(like, inner, state.inner)

        def stayed():  # -0.0, as 0.0 would change the sign of params that are -0.0
            return jax.tree.map(lambda g: jnp.full_like(g, -0.0), grads), state.inner

        updates, inner = jax.lax.cond(finite, moved, stayed)
        good = jnp.where(finite, state.good_steps + 1, 0)
        grown = good >= growth_interval  # which may be less than when it was saved
        scale = jnp.where(grown, state.scale * factor, state.scale)
        scale = jnp.where(finite, scale, state.scale / factor)
        info = jnp.finfo(scale.dtype)
        scale = jnp.clip(scale, info.tiny, info.max)
        skipped = state.skipped + (~finite).astype(jnp.int32)
        row = jnp.where(finite, 0, state.row + 1)
        return updates, LossScaled(scale, jnp.where(grown, 0, good), skipped, row, inner)

    return Optimizer(init, tells(update, told_by_inner(optimizer)))


def like(new, old):
    """`new` in the dtype of `old`: gradients may have more digits than params."""
    return new if new.dtype == old.dtype else new.astype(old.dtype)


def unscaled(grads, scale):
    """Gradients of the loss, in at least float32, from those of the scaled loss."""

    def leaf(g):
        dtype = accumulator(g.dtype)
        return g.astype(dtype) / scale.astype(dtype)

    return jax.tree.map(leaf, grads)


def loss_scale(opt_state):
    """What to multiply the loss by, or None.

    Raises:
        ValueError: if there is a scale that is not the outermost optimizer's.
    """
    if isinstance(opt_state, LossScaled):
        return opt_state.scale
    states = jax.tree.leaves(opt_state, is_leaf=lambda s: isinstance(s, LossScaled))
    if any(isinstance(s, LossScaled) for s in states):
        raise ValueError(
            "make_step needs dynamic_loss_scale around the whole optimizer, not inside "
            "another: what is around it would be given gradients of the scaled loss."
        )
    return None
