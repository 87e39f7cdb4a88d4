"""Trees that do not match, and leaves that are no numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import optim


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
        r"of the structure of .*, PyTreeDef\(.*\); got PyTreeDef\(.*\) "
        r"\(a tuple at \['empty'\], where .* have nothing\).",
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


@pytest.mark.parametrize(
    "optimizer",
    [*NAMED.values(), optim.chain(optim.clip_by_global_norm(2.0), optim.adam(0.1))],
)
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
