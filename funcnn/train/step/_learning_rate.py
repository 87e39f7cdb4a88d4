"""An optimizer and its states come in; the learning rate of an update goes out, if told."""

import jax
import jax.numpy as jnp

from funcnn.optim.protocol._rates import told_by

NAME = "learning_rate"


def learning_rate(optimizer, before, after):
    """The learning rate of the update between two states, or None if that is not known.

    Our optimizers tell it. optax's `inject_hyperparams` leaves it in the state.
    """
    if (rate := told_by(optimizer)) is not None:
        return jnp.asarray(rate(before), float)
    for state in jax.tree.leaves(after, is_leaf=holds_it):
        if holds_it(state):
            return jnp.asarray(state.hyperparams[NAME], float)
    return None


def holds_it(state):
    """Whether a state of optax's has hyperparameters, and this among them."""
    return NAME in (getattr(state, "hyperparams", None) or ())
