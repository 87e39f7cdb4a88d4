"""The one protocol that every optimizer follows, which is optax's."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Optimizer(NamedTuple):
    """A pair of pure functions.

    `init(params) -> state` makes the state for a pytree of parameters.
    `update(grads, state, params=None) -> (updates, state)` turns gradients into what
    `apply_updates` adds to the parameters. Neither jits itself.
    """

    init: Callable[..., Any]
    update: Callable[..., Any]
