"""What a library hands over to be timed, and the optimizer that the JAX peers share."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from benchmarks.steps.models import MOMENTUM, RATE


class Trainer(NamedTuple):
    """A model ready to be trained.

    Attributes:
        step: `step(state, batch) -> (state, loss)`; for JAX pure and not yet jitted.
        state: before the first step.
        batch: images or tokens, and labels, as the library wants them.
    """

    step: Callable
    state: Any
    batch: tuple


def with_optax(logits: Callable, params: Any, batch: tuple) -> Trainer:
    """Train `logits(params, inputs)` by optax's SGD on cross entropy."""
    import optax

    optimizer = optax.sgd(RATE, MOMENTUM)

    def loss(params, inputs, labels):
        losses = optax.losses.softmax_cross_entropy_with_integer_labels(
            logits(params, inputs), labels
        )
        return losses.mean()

    def step(state, batch):
        params, opt_state = state
        value, grads = jax.value_and_grad(loss)(params, *batch)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), value

    return Trainer(step, (params, optimizer.init(params)), batch)
