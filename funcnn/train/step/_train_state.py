"""A key, a model and an optimizer come in; a `TrainState` goes out, what steps change."""

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from funcnn.layers.protocol._layer import Layer
from funcnn.optim import Optimizer


class TrainState(NamedTuple):
    """A pytree: what a checkpoint holds and a step returns.

    `step` counts the updates made, `key` is the same throughout a run.
    """

    step: jax.Array
    params: Any
    opt_state: Any
    key: chex.PRNGKey


def init(key: chex.PRNGKey, model: Layer, optimizer: Optimizer, shape: Any) -> TrainState:
    """Draw a model's params and begin at step 0.

    Args:
        key: split in two, for the params and for the steps' randomness.
        model: a layer.
        optimizer: ours, or one of optax's.
        shape: the input's shape with its batch axis, or what else `model.init` takes.
    """
    params_key, run_key = jax.random.split(key)
    params = model.init(params_key, shape)
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params), run_key)


def check_state(function: str, state: Any) -> None:
    """Check that a state has what a `TrainState` has.

    Raises:
        TypeError: if it lacks a field, as params alone or a plain tuple do.
    """
    if not all(hasattr(state, name) for name in TrainState._fields):
        raise TypeError(
            f"{function} needs a state with {', '.join(TrainState._fields)}, such as "
            f"train.init makes; got {type(state).__name__}."
        )


def blame_state(function: str, optimizer: Optimizer, state: Any, error: Exception) -> None:
    """Say of an error whether the cause is a state that another optimizer made.

    Raises:
        TypeError: from `error`, if it is.
    """
    own = jax.eval_shape(optimizer.init, state.params)
    kinds = [str(jax.tree.structure(tree)) for tree in (own, state.opt_state)]
    if kinds[0] != kinds[1]:
        raise TypeError(
            f"{function} needs the state of its own optimizer, as init makes it of these "
            f"params; got {type(state.opt_state).__name__} of another structure."
        ) from error
