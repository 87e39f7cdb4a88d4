"""A rule for one leaf in, an optimizer of pytrees out."""

import math

import jax.numpy as jnp

from funcnn.optim.leafwise._rule import UNSCALED, Method
from funcnn.optim.leafwise._slots import check_slots, first_row, pack, unpack
from funcnn.optim.leafwise._step import Leaf, leaf_step
from funcnn.optim.precision._moments import check_moments
from funcnn.optim.protocol._leaves import caster
from funcnn.optim.protocol._masks import spread
from funcnn.optim.protocol._optimizer import Optimizer
from funcnn.optim.protocol._rates import (
    check_learning_rate,
    hyperparameter,
    learning_rate_at,
    tells,
)
from funcnn.optim.protocol._trees import checked, flatten, float_leaves, need_params


def method(
    name,
    state,
    rule,
    scalars=lambda t: (),
    learning_rate=UNSCALED,
    *,
    slots=None,
    start=None,
    why=None,
    decay=None,
    moments=None,
) -> Optimizer:
    """Make an optimizer of a rule for one leaf.

    Args:
        name: what errors call it.
        state: a NamedTuple class: `step`, then the slots, each a pytree like params.
        rule: `rule(g, *slots, *scalars) -> (direction, *slots)`, all of one dtype, which
            is at least float32. It may take more by name:
            `w`, the weights;
            `decay`, the rate at which they decay, 0 where the mask is not: its direction
            then holds the decay;
            `rate`, the learning rate: its direction then holds it;
            `keep`, a function: `keep(*slots)` are the new slots as they are stored, if
            that is by chance, else as they are. The direction is made of those.
        scalars: `scalars(t)`, what the rule needs of the update t = 1, 2, ...
        learning_rate: the update is `-learning_rate * direction`; of `UNSCALED`, the
            direction.
        slots: the names of those that there are, None for all; others are None.
        start: `start(w)`, the slots of a new leaf; None for zeros like it.
        why: why the rule needs the weights, for errors; None if it takes none.
        decay: a `Decay` if the direction is `direction + decay.rate * w`, or None.
        moments: what slots are stored as; see `check_moments`.
    """
    if learning_rate is not UNSCALED:
        check_learning_rate(name, learning_rate)
    if decay is not None:
        hyperparameter(name, "weight_decay", decay.rate, below=math.inf)
        why = why or "its weights decay"
    check_moments(name, moments)
    names = tuple(state._fields[1:] if slots is None else slots)
    m = Method(name, state, rule, scalars, learning_rate, names, start, why, decay, moments)

    def init(params):
        leaves, tree = flatten(float_leaves(name, "params", params))
        step = jnp.zeros((), jnp.int32)
        rows = [first_row(m, i, w, step) for i, w in enumerate(leaves)]
        return pack(m, step, tree, rows)

    def update(grads, before, params=None):
        found, tree = leaves_of(m, grads, before, params)
        rate = learning_rate_at(name, learning_rate, before.step) if m.scaled else 1.0
        step = before.step + 1
        numbers = caster((*scalars(step), rate, 0.0 if decay is None else decay.rate))
        moved = [leaf_step(m, leaf, numbers, step) for leaf in found]
        updates = tree.unflatten([update for update, _ in moved])
        return updates, pack(m, step, tree, [row for _, row in moved])

    def rate_of(state):
        return learning_rate_at(name, learning_rate, state.step)

    return Optimizer(init, tells(update, rate_of if m.scaled else None))


def leaves_of(m: Method, grads, before, params):
    """What `update` is given, checked, leaf by leaf, and the gradients' structure."""
    if m.why:
        need_params(m.name, params, m.why)
    leaves, tree = flatten(checked(m.name, grads, params))
    check_slots(m, before, tree, leaves)
    weights = tree.flatten_up_to(params) if m.why else [None] * len(leaves)
    decays = [m.decay is not None] * len(leaves)
    if m.decay is not None and m.decay.mask is not None:
        decays = spread(m.name, "a mask", m.decay.mask, params)
    rows = unpack(m, before, tree)
    each = zip(leaves, weights, rows, decays, strict=True)
    return [Leaf(i, *leaf) for i, leaf in enumerate(each)], tree
