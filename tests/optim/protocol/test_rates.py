"""Hyperparameters that make no sense."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import optim

KEY = jax.random.key(0)
STEP = jnp.asarray(7, jnp.int32)


BAD_HYPERPARAMETERS = [
    (lambda: optim.sgd(-0.1), "sgd needs learning_rate of at least 0.0; got -0.1."),
    (lambda: optim.sgd(jnp.asarray(-1.0)), "sgd needs learning_rate .*; got -1.0."),
    (lambda: optim.adam(np.nan), "adam needs learning_rate of at least 0.0; got nan."),
    (lambda: optim.adam(np.inf), r"adam needs learning_rate in \[0, inf\); got inf."),
    (lambda: optim.adamw(-1), "adamw needs learning_rate of at least 0.0; got -1."),
    (lambda: optim.sgd(0.1, 1.0), r"sgd needs momentum in \[0, 1\); got 1.0."),
    (lambda: optim.sgd(0.1, -0.9), "sgd needs momentum of at least 0.0; got -0.9."),
    (
        lambda: optim.sgd(0.1, nesterov=True),
        "sgd needs a momentum for nesterov; got momentum 0.0.",
    ),
    (lambda: optim.adam(0.1, b1=1.0), r"adam needs b1 in \[0, 1\); got 1.0."),
    (lambda: optim.adam(0.1, b2=-0.1), "adam needs b2 of at least 0.0; got -0.1."),
    (lambda: optim.adamw(0.1, b2=1.5), r"adamw needs b2 in \[0, 1\); got 1.5."),
    (lambda: optim.adam(0.1, eps=-1e-8), "adam needs eps of at least 0.0; got -1e-08."),
    (
        lambda: optim.adamw(0.1, weight_decay=-1.0),
        "adamw needs weight_decay of at least 0.0; got -1.0.",
    ),
    (
        lambda: optim.add_decayed_weights(-1.0),
        "add_decayed_weights needs rate of at least 0.0; got -1.0.",
    ),
    (
        lambda: optim.clip_by_global_norm(-1.0),
        "clip_by_global_norm needs limit of at least 0.0; got -1.0.",
    ),
    (
        lambda: optim.sgd(jnp.ones(3)),
        r"sgd needs a scalar learning_rate; got shape \(3,\).",
    ),
]


@pytest.mark.parametrize("make, message", BAD_HYPERPARAMETERS)
def test_bad_hyperparameters(make, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: optim.sgd("fast"), "sgd needs a number for learning_rate; got 'fast'."),
        (lambda: optim.adam(None), "adam needs a number for learning_rate; got None."),
        (
            lambda: optim.add_decayed_weights(lambda step: 0.1),
            "add_decayed_weights needs a number for rate; got <function .*>.",
        ),
        (
            lambda: optim.chain(optim.sgd, optim.adam(0.1)),
            "chain needs optimizers, each with init and update; got function.",
        ),
    ],
)
def test_hyperparameters_of_a_wrong_type(make, message):
    with pytest.raises(TypeError, match=f"^{message}$"):
        make()


def test_a_schedule_gives_scalars():
    optimizer = optim.adam(lambda step: jnp.ones(2))
    state = optimizer.init(jnp.ones(2))
    with pytest.raises(
        ValueError,
        match=r"^adam needs a scalar learning_rate from its schedule; got shape \(2,\).$",
    ):
        optimizer.update(jnp.ones(2), state)
