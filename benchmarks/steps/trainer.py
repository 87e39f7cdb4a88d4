"""What a library hands over to be timed, and the optimizer that all on JAX share."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

RATE = 1e-3
MOMENTUM = 0.9


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


def with_sgd(library, loss: Callable, params: Any, batch: tuple) -> Trainer:
    """Train by `library.sgd`, optax's or funcnn's: `loss(params, inputs, labels)`."""
    optimizer = library.sgd(RATE, MOMENTUM)

    def step(state, batch):
        params, opt_state = state
        value, grads = jax.value_and_grad(loss)(params, *batch)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return (library.apply_updates(params, updates), opt_state), value

    return Trainer(step, (params, optimizer.init(params)), batch)


def with_optax(logits: Callable, params: Any, batch: tuple) -> Trainer:
    """Train `logits(params, inputs)` by optax's SGD on cross entropy."""
    import optax

    def loss(params, inputs, labels):
        losses = optax.losses.softmax_cross_entropy_with_integer_labels(
            logits(params, inputs), labels
        )
        return losses.mean()

    return with_sgd(optax, loss, params, batch)
