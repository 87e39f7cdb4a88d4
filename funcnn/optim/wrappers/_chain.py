"""Optimizers in, one that runs them in sequence out."""

from funcnn.optim.protocol._optimizer import Optimizer, extended
from funcnn.optim.protocol._rates import tells, told_by_first


def chain(*optimizers: Optimizer) -> Optimizer:
    """Feed each optimizer's updates to the next, as its gradients.

    Args:
        *optimizers: ours, or optax's transformations, in any mix. As in optax, what
            changes gradients comes first:
            `chain(clip_by_global_norm(1.0), adam(1e-3))`.

    Returns:
        An `Optimizer` whose state is the tuple of theirs. None at all is the identity.
        Its `update` passes further arguments by name to those that take them.

    Raises:
        TypeError: if an argument has no `init` and `update`; in `update`, if the state is
            no tuple.
        ValueError: in `update`, if the state has not one entry for each optimizer.
    """
    updates = [extended("chain", optimizer) for optimizer in optimizers]

    def init(params):
        return tuple(optimizer.init(params) for optimizer in optimizers)

    def update(grads, state, params=None, **extra):
        if not isinstance(state, tuple | list) or hasattr(state, "_fields"):
            raise TypeError(
                f"chain needs a state of its own, a tuple with one for each optimizer; "
                f"got {type(state).__name__}."
            )
        if len(state) != len(optimizers):
            raise ValueError(
                f"chain needs a state of {len(optimizers)} entries, one for each "
                f"optimizer; got {len(state)}."
            )
        after = []
        for one, before in zip(updates, state, strict=True):
            grads, entry = one(grads, before, params, **extra)
            after.append(entry)
        return grads, tuple(after)

    return Optimizer(init, tells(update, told_by_first(dict(enumerate(optimizers)))))
