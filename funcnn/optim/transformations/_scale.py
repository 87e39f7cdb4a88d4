"""Gradients in, multiplied by a number out: one that is fixed, or a schedule's."""

import math
from collections.abc import Callable
from typing import NamedTuple

import chex

from funcnn.optim.leafwise._method import method
from funcnn.optim.leafwise._rule import UNSCALED
from funcnn.optim.protocol._optimizer import Optimizer
from funcnn.optim.protocol._rates import LearningRate, hyperparameter, learning_rate_at


class ScaleState(NamedTuple):
    """Updates made so far."""

    step: chex.Array


def scale(factor: chex.Numeric) -> Optimizer:
    """Multiply gradients by a number.

    Args:
        factor: a scalar of at least 0, which may be traced.

    Returns:
        An `Optimizer` that keeps the gradients' dtypes, for use in a chain.

    Raises:
        TypeError: if `factor` is no number, or a leaf is not floating-point.
        ValueError: if it is negative, not finite or not a scalar.
    """
    hyperparameter("scale", "factor", factor, below=math.inf)
    return scaled("scale", lambda step: factor)


def scale_by_schedule(schedule: Callable[[chex.Array], chex.Numeric]) -> Optimizer:
    """Multiply gradients by what a schedule says.

    Args:
        schedule: `step -> scalar`, where the first update is step 0.

    Returns:
        An `Optimizer` that keeps the gradients' dtypes, for use in a chain.

    Raises:
        TypeError: if `schedule` is no function, or a leaf is not floating-point.
        ValueError: in `update`, if the schedule returns no scalar.
    """
    if not callable(schedule):
        raise TypeError(
            "scale_by_schedule needs a function of the step; "
            f"got {type(schedule).__name__}."
        )
    return scaled("scale_by_schedule", schedule)


def scale_by_learning_rate(learning_rate: LearningRate) -> Optimizer:
    r"""Multiply by $-\eta$: what makes updates of the direction of a `scale_by_*`.

    Args:
        learning_rate: $\eta$, a scalar or a schedule, as in `sgd`.

    Returns:
        An `Optimizer` that keeps the gradients' dtypes, last in a chain.

    Raises:
        TypeError: if `learning_rate` is no number, or a leaf is not floating-point.
        ValueError: if it is negative, not finite or not a scalar.
    """
    return method(
        "scale_by_learning_rate", ScaleState, lambda g: (g,), learning_rate=learning_rate
    )


def scaled(name, factor):
    """Multiply by a function of the step."""

    def scalars(t):
        return (learning_rate_at(name, factor, t - 1, "value"),)

    return method(name, ScaleState, lambda g, f: (f * g,), scalars, UNSCALED)
