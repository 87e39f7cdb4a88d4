"""Optimizers by label in, one that gives each its leaves out."""

from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

import chex
import jax

from funcnn.optim.protocol._masks import Mask, as_bools, spread
from funcnn.optim.protocol._optimizer import Optimizer, extended, stateless
from funcnn.optim.protocol._rates import tells, told_by_first
from funcnn.optim.protocol._trees import check_own, flatten, match


class PartitionState(NamedTuple):
    """The state of each label's optimizer, over params with None at others' leaves."""

    inner: dict[Hashable, chex.ArrayTree]


def partition(
    optimizers: Mapping[Hashable, Optimizer],
    labels: Callable[[chex.ArrayTree], Any] | Any,
) -> Optimizer:
    """Give each leaf to the optimizer that its label names.

    Args:
        optimizers: ours or optax's, by label.
        labels: a pytree of labels like params, or a prefix of it, or a function of
            params (or of gradients, in `update` without params) that returns one.

    Returns:
        An `Optimizer`. To each of those in it, the leaves of the others are None. Further
        arguments that are functions of params become functions of its part of them.

    Raises:
        TypeError: if one has no `init` and `update`.
        ValueError: in `init` and `update`, if a label has no optimizer, or the labels'
            structure is no prefix of that of params.
    """
    return parts("partition", optimizers, labels)


def parts(name, optimizers, labels):
    """A partition that errors call `name`."""
    updates = {label: extended(name, one) for label, one in optimizers.items()}

    def init(params):
        found = labelled(name, optimizers, labels, params)
        return PartitionState(
            {
                label: one.init(part(label, found, params))
                for label, one in optimizers.items()
            }
        )

    def update(grads, state, params=None, **extra):
        if params is not None:
            match(name, "gradients", grads, params)
        check_own(name, state, PartitionState)
        if state.inner.keys() != optimizers.keys():
            raise ValueError(
                f"{name} needs a state of optimizers for "
                f"{sorted(map(repr, optimizers))}; got {sorted(map(repr, state.inner))}."
            )
        found = labelled(name, optimizers, labels, grads if params is None else params)
        (_, treedef), inner, merged = flatten(grads), {}, [None] * len(found)
        for label, of in updates.items():
            own = None if params is None else part(label, found, params)
            further = further_of(label, found, extra, grads, params)
            new, inner[label] = of(
                part(label, found, grads), state.inner[label], own, **further
            )
            for i, a in enumerate(treedef.flatten_up_to(new)):
                merged[i] = a if found[i] == label else merged[i]
        return treedef.unflatten(merged), PartitionState(inner)

    rate = told_by_first(optimizers)
    of_inner = None if rate is None else lambda state: rate(state.inner)
    return Optimizer(init, tells(update, of_inner))


def labelled(name, optimizers, labels, tree):
    """The label of each leaf, in a list; raises ValueError where one has no optimizer."""
    found = spread(name, "labels", labels, tree)
    for label in found:
        if label not in optimizers:
            raise ValueError(
                f"{name} needs an optimizer for each label; got label {label!r} and "
                f"optimizers for {sorted(map(repr, optimizers))}."
            )
    return found


def part(label, found, tree):
    """A tree with None where the label is another."""
    leaves, treedef = flatten(tree)
    pairs = zip(leaves, found, strict=True)
    part = treedef.unflatten([a if of == label else None for a, of in pairs])
    return () if part is None else part  # None would be no params at all


def further_of(label, found, extra, grads, params):
    """Further arguments for the optimizer of a label.

    Functions, which are of params, become functions of its part of them, and what is like
    gradients becomes its part.
    """
    _, treedef = flatten(grads)

    def whole(own):
        """Params with another part."""
        leaves = zip(found, *map(treedef.flatten_up_to, (params, own)), strict=True)
        return treedef.unflatten([new if of == label else w for of, w, new in leaves])

    def one(a):
        if callable(a) and params is not None:
            return lambda own: a(whole(own))
        alike = treedef.num_leaves > 1 and jax.tree.structure(a) == treedef
        return part(label, found, a) if alike else a

    return {key: one(a) for key, a in extra.items()}


def masked(optimizer: Optimizer, mask: Mask) -> Optimizer:
    """Apply an optimizer where the mask is true, and leave other gradients as they are.

    It does not freeze. As in optax, gradients pass through where the mask is False, and
    `apply_updates` would add them to these params, raw and with the wrong sign. So what
    takes care of the rest comes after it: another `masked`, with the contrary mask, or, for
    params that are to stay as they are, `freeze`:

        trained = {"w": True, "b": False}
        frozen = {"w": False, "b": True}
        optim.chain(optim.masked(optim.adam(1e-3), trained), optim.freeze(frozen))

    `partition({"train": adam(1e-3), "frozen": freeze(True)}, labels)` does the same.

    Args:
        optimizer: ours or optax's.
        mask: a pytree of bools like params, or a prefix of it, or a function of params
            that returns one.

    Returns:
        An `Optimizer` whose state holds nothing for the leaves that are left out.

    Raises:
        TypeError: if `optimizer` has no `init` and `update`.
        ValueError: if the mask's structure is no prefix of that of params.
    """
    identity = stateless(tuple, lambda grads, params: grads)
    return parts("masked", {True: optimizer, False: identity}, as_bools(mask))
