"""Arguments that make no sense, and trees that do not match."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import optim
from tests.optim.test_optim import each_optimizer

RATE = "learning_rate"
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


@pytest.mark.parametrize(
    "name, optimizer",
    [
        ("adamw", optim.adamw(0.1)),
        ("add_decayed_weights", optim.add_decayed_weights(0.1)),
    ],
)
def test_weight_decay_needs_params(name, optimizer):
    w = jnp.ones(2)
    with pytest.raises(
        ValueError,
        match=rf"^{name} needs params, as its weights decay: "
        r"update\(grads, state, params\); got None.$",
    ):
        optimizer.update(w, optimizer.init(w))


NAMED = {
    "sgd": optim.sgd(0.1),
    "sgd ": optim.sgd(0.1, 0.9),
    "adam": optim.adam(0.1),
    "adamw": optim.adamw(0.1),
    "add_decayed_weights": optim.add_decayed_weights(0.1),
}
PARAMS = {"stem": {"weight": np.ones((3, 2))}, "bias": np.ones(2)}
MISMATCHES = {
    "shape": (
        {"stem": {"weight": np.ones((2, 3))}, "bias": np.ones(2)},
        r"with shape \(3, 2\) at \['stem'\]\['weight'\], as in .*; got shape \(2, 3\).",
    ),
    "missing": (
        {"stem": {"weight": np.ones((3, 2))}},
        r"with shape \(2,\) at \['bias'\], as in .*; got no leaf.",
    ),
    "None": (
        {"stem": {"weight": np.ones((3, 2))}, "bias": None},
        r"with shape \(2,\) at \['bias'\], as in .*; got no leaf.",
    ),
    "extra": (
        {**PARAMS, "scale": np.ones(1)},
        r"with no leaf at \['scale'\], as in .*; got shape \(1,\).",
    ),
    "structure": (
        {**PARAMS, "empty": ()},
        r"of the structure of .*, PyTreeDef\(.*\); got PyTreeDef\(.*\).",
    ),
    "a leaf": (
        np.ones(2),
        r"with shape \(2,\) at \['bias'\], as in .*; got no leaf.",
    ),
}


@pytest.mark.parametrize("grads, message", MISMATCHES.values(), ids=MISMATCHES)
@pytest.mark.parametrize("name, optimizer", NAMED.items(), ids=NAMED)
def test_gradients_match_params(name, optimizer, grads, message):
    state = optimizer.init(PARAMS)
    with pytest.raises(ValueError, match=f"^{name.strip()} needs gradients {message}$"):
        optimizer.update(grads, state, PARAMS)


@pytest.mark.parametrize("name", ["sgd ", "adam"])
def test_gradients_match_the_state_without_params(name):
    state = NAMED[name].init(PARAMS)
    grads, _ = MISMATCHES["shape"]
    with pytest.raises(
        ValueError, match=r"as in the mom.* in its state; got shape \(2, 3\)."
    ):
        NAMED[name].update(grads, state)


@pytest.mark.parametrize("updates, message", MISMATCHES.values(), ids=MISMATCHES)
def test_updates_match_params(updates, message):
    with pytest.raises(ValueError, match=f"^apply_updates needs updates {message}$"):
        optim.apply_updates(PARAMS, updates)


@each_optimizer
def test_leaves_are_floating_point(optimizer):
    params = {"ids": jnp.arange(3)}
    with pytest.raises(
        TypeError,
        match=r"needs (gradients|leaves|params) of a floating-point dtype; "
        r"got int64 at \['ids'\].$",
    ):
        optimizer.update(params, optimizer.init(params), params)


def test_integer_gradients_of_allow_int_are_refused():
    grads = jax.grad(lambda i: 1.0, allow_int=True)(jnp.arange(3))
    with pytest.raises(TypeError, match=r"got .*float0.* at the root"):
        optim.sgd(0.1).update(grads, optim.sgd(0.1).init(jnp.ones(3)))


def test_chain_needs_its_own_state():
    optimizer = optim.chain(optim.clip_by_global_norm(1.0), optim.sgd(0.1))
    with pytest.raises(
        ValueError,
        match=r"^chain needs a state of 2 entries, one for each optimizer; got 1.$",
    ):
        optimizer.update(jnp.ones(2), (optim.ClipState(),))
