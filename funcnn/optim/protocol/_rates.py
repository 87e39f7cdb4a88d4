"""Hyperparameters in, checked; learning rates in, what they are at a step out."""

import math
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import numpy as np

from funcnn.foundation._checks import number

LearningRate = chex.Numeric | Callable[[chex.Array], chex.Numeric]


def hyperparameter(optimizer, name, value, below=None, *, least=0.0, most=None):
    """Check that a scalar is at least `least`, less than `below` and at most `most`.

    Nothing is known of what is traced but its shape.

    Raises:
        TypeError: if it is not a number.
        ValueError: if it lies outside, is NaN, or is not a scalar.
    """
    if isinstance(value, jax.Array | np.ndarray):
        scalar(optimizer, name, value)
        if isinstance(value, jax.core.Tracer):
            return
        value = np.asarray(value).item()
    number(optimizer, name, value, low=least)
    if most is not None and not value <= most:
        raise ValueError(f"{optimizer} needs {name} in [0, {most}]; got {value}.")
    if below is not None and not value < below:
        raise ValueError(f"{optimizer} needs {name} in [0, {below}); got {value}.")


def hyperparameters(optimizer, **values):
    """Check several: those whose names start with `eps` are finite, others below 1.

    Raises:
        TypeError: if one is not a number.
        ValueError: if one lies outside its range, is NaN, or is not a scalar.
    """
    for name, value in values.items():
        below = math.inf if name.startswith("eps") else 1
        hyperparameter(optimizer, name, value, below=below)


def learning_rate_at(optimizer, learning_rate, step, what="learning_rate"):
    """The learning rate of the update that follows `step` others."""
    if not callable(learning_rate):
        return learning_rate
    rate = learning_rate(step)
    scalar(optimizer, f"{what} from its schedule", rate)
    return rate


def tells(update, rate):
    """`update`, of which it is known what learning rate it will use.

    Args:
        update: an optimizer's.
        rate: `rate(state)`, the learning rate of the update that begins with a state; or
            None if it is not known.
    """
    if rate is not None:
        update.learning_rate = rate
    return update


def told_by(optimizer):
    """`rate(state)` of an optimizer that tells its learning rate, or None."""
    return getattr(optimizer.update, "learning_rate", None)


def told_by_inner(optimizer):
    """The same, of a state that holds the optimizer's own as `inner`."""
    rate = told_by(optimizer)
    return None if rate is None else lambda state: rate(state.inner)


def told_by_first(optimizers):
    """The same, by the first that tells, of states by the same keys."""
    for key, one in optimizers.items():
        if (rate := told_by(one)) is not None:
            return lambda states, rate=rate, key=key: rate(states[key])
    return None


def check_learning_rate(optimizer, learning_rate, name="learning_rate"):
    """Check a learning rate, as far as it is known before the first update."""
    if not callable(learning_rate):
        hyperparameter(optimizer, name, learning_rate, below=math.inf)


def scalar(optimizer, name, value):
    """Raise ValueError unless `value` has shape ()."""
    if jnp.shape(value):
        raise ValueError(
            f"{optimizer} needs a scalar {name}; got shape {jnp.shape(value)}."
        )
