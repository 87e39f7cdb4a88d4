"""What an optimizer is: a pair of functions, in optax's protocol."""

import inspect
from collections.abc import Callable
from typing import NamedTuple

import chex


class Optimizer(NamedTuple):
    """A pair of pure functions.

    `init(params) -> state` makes the state for a pytree of parameters.
    `update(grads, state, params=None) -> (updates, state)` turns gradients into what
    `apply_updates` adds to the parameters. Neither jits itself.

    Some take more, by name: `sophia` the `loss` whose curvature it measures. `chain` and
    all that wraps an optimizer pass such arguments on to those that take them; optax's
    `chain` passes none on to optimizers that are not optax's.
    """

    init: Callable[[chex.ArrayTree], chex.ArrayTree]
    update: Callable[..., tuple[chex.ArrayTree, chex.ArrayTree]]


def extended(name, optimizer):
    """An optimizer's `update`, made to take any further arguments by name.

    Those that it has no parameter for are dropped.

    Raises:
        TypeError: if it has no `init` and `update`.
    """
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise TypeError(
            f"{name} needs optimizers, each with init and update; "
            f"got {type(optimizer).__name__}."
        )
    parameters = inspect.signature(optimizer.update).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return optimizer.update

    def update(grads, state, params=None, **extra):
        extra = {key: value for key, value in extra.items() if key in parameters}
        return optimizer.update(grads, state, params, **extra)

    return update


def stateless(state, change) -> Optimizer:
    """An optimizer that remembers nothing, made of `change(grads, params) -> updates`.

    Args:
        state: what makes its empty state, a class of no fields.
        change: a function of gradients, and of params or None.
    """

    def init(params):
        del params
        return state()

    def update(grads, before, params=None):
        return change(grads, params), before

    return Optimizer(init, update)
