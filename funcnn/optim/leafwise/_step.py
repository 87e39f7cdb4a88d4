"""The gradient of one leaf in, its update and its new slots out."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from funcnn.optim.leafwise._rule import Method
from funcnn.optim.leafwise._slots import Keeper, stored_row
from funcnn.optim.precision._moments import load
from funcnn.optim.protocol._leaves import widest


@dataclass(frozen=True)
class Leaf:
    """One leaf of what `update` is given.

    Attributes:
        index: which it is.
        g: the gradient.
        w: the weights; None if the method needs none.
        row: its slots, as they are stored.
        decays: whether its weights decay.
    """

    index: int
    g: jax.Array
    w: Any
    row: Any
    decays: bool


def leaf_step(m: Method, leaf: Leaf, numbers, step):
    """The update of one leaf, and its new row.

    Args:
        m: the method.
        leaf: what there is of the leaf.
        numbers: a function of a dtype that returns the rule's scalars, the learning rate
            and the weight decay in it.
        step: the number of this update, 1 for the first.
    """
    old = [load(a, leaf.g.shape) for a in leaf.row]
    arrays = [leaf.g, *([] if leaf.w is None else [jnp.asarray(leaf.w)]), *old]
    dtype = widest(arrays)
    *scalars, rate, decay = numbers(dtype)
    g, *arrays = [a.astype(dtype) for a in arrays]
    w = None if leaf.w is None else arrays.pop(0)

    def row_of(new):
        return stored_row(m, leaf.index, new, [a.dtype for a in old], step)

    keeper = Keeper(m.by_chance, row_of, g.shape, dtype)
    given = {"w": w, "decay": decay, "rate": rate, "keep": keeper}
    if "decay" in m.takes and not leaf.decays:
        given["decay"] = jnp.zeros_like(decay)
    named = {name: given[name] for name in m.takes}
    direction, *new = m.rule(g, *arrays, *scalars, **named)
    row = keeper.row if m.by_chance else row_of(new)
    if leaf.decays and "decay" not in m.takes:
        direction = direction + decay * w
    if m.scaled:
        direction = -direction if "rate" in m.takes else -rate * direction
    return direction.astype(leaf.g.dtype), row
