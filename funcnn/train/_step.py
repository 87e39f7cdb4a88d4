"""One training step as a pure function."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from funcnn import optim
from funcnn.train._state import TrainState

Step = Callable[[TrainState, Any], tuple[TrainState, dict]]


def make_step(loss: Callable, optimizer: optim.Optimizer) -> Step:
    """Return the step that follows a loss downhill.

    Args:
        loss: `loss(params, batch, key) -> scalar`, or `(scalar, metrics)` with a dict of
            anything else worth recording. `key` is the step's own,
            `fold_in(state.key, state.step)`.
        optimizer: ours, or one of optax's.

    Returns:
        A pure `step(state, batch) -> (state, metrics)`, for the caller to jit. `metrics`
        holds the `loss` and the gradient's global norm `grad_norm`, both as they were
        before the update, and the loss's own metrics.

    Raises:
        TypeError: in the step, if the loss is not a floating-point number, or its
            metrics are not a dict.
        ValueError: in the step, if the loss is not a scalar, or one of its metrics is
            called `loss` or `grad_norm`.
    """

    def scalar_loss(params, batch, key):
        return split(loss(params, batch, key))

    gradient = jax.value_and_grad(scalar_loss, has_aux=True)

    def step(state, batch):
        key = jax.random.fold_in(state.key, state.step)
        (value, metrics), grads = gradient(state.params, batch, key)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optim.apply_updates(state.params, updates)
        metrics = {"loss": value, "grad_norm": optim.global_norm(grads), **metrics}
        return TrainState(state.step + 1, params, opt_state, state.key), metrics

    return step


def split(result):
    """Take apart and check what a loss returned."""
    if not isinstance(result, tuple):
        result = result, {}
    if len(result) != 2:
        raise TypeError(
            "make_step needs a loss that returns a scalar or (scalar, metrics); "
            f"got a tuple of {len(result)}."
        )
    value, metrics = result
    if not isinstance(metrics, dict):
        raise TypeError(
            "make_step needs the loss's metrics to be a dict; "
            f"got {type(metrics).__name__}."
        )
    for name in ("loss", "grad_norm"):
        if name in metrics:
            raise ValueError(
                f"make_step records {name!r} itself; give the loss's metric another name."
            )
    if not isinstance(value, jax.Array | float):
        raise TypeError(
            f"make_step needs the loss to be a scalar array; got {type(value).__name__}."
        )
    value = jnp.asarray(value)
    if value.shape:
        raise ValueError(
            f"make_step needs a scalar loss; got shape {value.shape}. Take its mean."
        )
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise TypeError(f"make_step needs a floating-point loss; got {value.dtype}.")
    return value, metrics
