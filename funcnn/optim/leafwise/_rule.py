"""What a method is: a rule for one leaf, and what it needs besides the gradient."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from funcnn.optim.precision._moments import rounded_by_chance

UNSCALED = object()  # in place of a learning rate, where there is none


class Decay(NamedTuple):
    """Weights decay by a rate, where a mask says so; None for all leaves."""

    rate: Any
    mask: Any


def decoupled(weight_decay, mask) -> Decay | None:
    """The decay of weights that may decay: None for a Python 0."""
    if isinstance(weight_decay, int | float) and weight_decay == 0:
        return None
    return Decay(weight_decay, mask)


@dataclass(frozen=True)
class Method:
    """What `method` is told, whose arguments say what each of these is.

    Attributes:
        slots: the names of what the state keeps of each leaf.
        why: why it needs params; None if it does not.
    """

    name: str
    state: Any
    rule: Callable
    scalars: Callable
    learning_rate: Any
    slots: tuple[str, ...]
    start: Callable | None
    why: str | None
    decay: Decay | None
    moments: Any

    @functools.cached_property
    def takes(self):
        """What the rule takes by name: of w, decay, rate and keep."""
        parameters = inspect.signature(self.rule).parameters.values()
        return {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}

    @property
    def scaled(self):
        """Whether updates are steps of a learning rate, and not directions."""
        return self.learning_rate is not UNSCALED

    @functools.cached_property
    def by_chance(self):
        """Whether the rule sees its new slots as they are stored."""
        chance = self.moments is not None and rounded_by_chance(self.moments)
        return chance and "keep" in self.takes
