"""Wrong use of every optimizer: errors name it, and the leaf by its path."""

import inspect
import re

import jax
import jax.numpy as jnp
import pytest

from funcnn import optim
from tests.support.optim_makers import KEY, MAKERS, PARTS, constructors, ones

PARAMS = {"stem": {"weight": jnp.ones((3, 2))}, "bias": jnp.ones(2)}
TURNED = {"stem": {"weight": jnp.ones((2, 3))}, "bias": jnp.ones(2)}
FEWER = {"stem": {"weight": jnp.ones((3, 2))}}
COUNTS = {"stem": {"weight": jnp.ones((3, 2), jnp.int32)}, "bias": jnp.ones(2)}
ALL = MAKERS | PARTS
WEIGHT = r"\['stem'\]\['weight'\]"
# Those that leave what they are given to another, which names itself.
TOLD_BY = {
    "inject": "adamw",
    "chain": "clip",
    "hutchinson": "sophia",
    "per_layer": "partition",  # which the maker puts around it
}
INNER = {
    "schedule_free": "sgd",
    "lookahead": "adam",
    "partition": "adam",
    "masked": "adam",
    "per_layer": "per_layer",
}
each = pytest.mark.parametrize("name", ALL)
# What to give for a parameter without a default.
GIVEN = {
    "optimizer": optim.sgd(0.1),
    "optimizers": {True: optim.sgd(0.1)},
    "labels": True,
    "mask": True,
    "patterns": "*",
    "make": optim.sgd,
    "estimator": ones(),
    "key": KEY,
    "schedule": lambda step: 1.0,
    "every": 2,
    "most": 2,
}


def update(name, grads, params=PARAMS, state_of=PARAMS):
    optimizer = ALL[name](0.1)
    return optimizer.update(grads, optimizer.init(state_of), params)


@each
def test_gradients_of_another_shape(name):
    with pytest.raises(
        ValueError,
        match=rf"^{TOLD_BY.get(name, name)} needs (gradients|updates) with shape \(3, 2\) "
        rf"at {WEIGHT}, as in (params|the .* in its state); got shape \(2, 3\).$",
    ):
        update(name, TURNED)


@each
def test_gradients_without_a_leaf(name):
    with pytest.raises(
        ValueError,
        match=rf"^{TOLD_BY.get(name, name)} needs (gradients|updates) with shape \(2,\) at "
        r"\['bias'\], as in (params|the .* in its state); got no leaf.$",
    ):
        update(name, FEWER)


@each
def test_gradients_that_are_integers(name):
    who = INNER.get(name, TOLD_BY.get(name, name))
    with pytest.raises(
        TypeError,
        match=rf"^{who} needs (gradients|updates) of a floating-point dtype; "
        rf"got int32 at {WEIGHT}.(\n|$)",  # JAX adds a note in `vmap`
    ):
        update(name, COUNTS)


KEEP_NOTHING = {
    name
    for name, make in ALL.items()
    if not any(a.ndim for a in jax.tree.leaves(jax.eval_shape(make(0.1).init, PARAMS)))
}


@pytest.mark.parametrize("name", sorted({*ALL} - KEEP_NOTHING - {"add_noise"}))
def test_a_state_of_other_params(name):
    """Where it can be told, by the shapes of what the state holds."""
    with pytest.raises(
        ValueError,
        match=r"^\w+ needs (gradients|updates|what it keeps of gradients) (with no leaf at "
        r"\['bias'\], as in|of the structure of) the .* in its state",
    ):
        jax.eval_shape(lambda: update(name, PARAMS, state_of=FEWER))


@each
def test_a_state_of_another_optimizer(name):
    """Is told, and not that some class has no such attribute."""
    if name in KEEP_NOTHING - {"add_noise"} and name not in ("accumulate", "inject"):
        pytest.skip("keeps nothing that another could lack")
    params = {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}
    other = optim.DecayState()
    with pytest.raises(
        TypeError, match=r"^\w+ needs a state of its own, .*; got DecayState"
    ):
        jax.eval_shape(lambda: ALL[name](0.1).update(params, other, params))


def test_a_state_of_a_partition_by_other_labels():
    params = {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}
    state = optim.masked(optim.adam(0.1), True).init(params)
    other = optim.partition({"a": optim.adam(0.1)}, "a")
    with pytest.raises(
        ValueError,
        match=r"^partition needs a state of optimizers for .*'a'.*; got .*'False', 'True'",
    ):
        other.update(params, state, params)


def test_labels_in_containers_of_other_kinds():
    params = {"w": [jnp.ones(3)], "b": jnp.ones(3)}
    masked = optim.masked(optim.adam(0.1), {"w": (True,), "b": True})
    with pytest.raises(
        ValueError, match=r"got a tuple at \['w'\], where params have a list\.$"
    ):
        masked.init(params)


def test_codes_of_other_params():
    optimizer = optim.adam(0.1, moments=optim.Int8(4))
    state = jax.eval_shape(optimizer.init, {"w": jnp.ones(20)})
    with pytest.raises(
        ValueError,
        match=r"^adam needs what it keeps of gradients with shape \(5, 4\) at \['w'\], as "
        r"in the moments in its state; got shape \(4, 4\).$",
    ):
        optimizer.update({"w": jnp.ones(16)}, state)


ASKING = ("chain", "inject")  # as what is in them does here


@each
def test_params_are_asked_for_where_the_docs_say_so(name):
    told = " ".join(inspect.getdoc(getattr(optim, name)).split())
    grads = {"w": jnp.ones((2, 2))}
    if re.search("`update` needs params", told) or name in ASKING:
        with pytest.raises(
            ValueError,
            match=r"^\w+ needs params, as .*: update\(grads, .*; got None.(\n|$)",
        ) as caught:
            update(name, grads, None, grads)
        if name not in TOLD_BY:
            assert str(caught.value).startswith(f"{name} needs")
    else:
        jax.eval_shape(lambda: update(name, grads, None, grads))


@pytest.mark.parametrize("name", ["nadam", "amsgrad", "adamax", "radam"])
def test_params_are_asked_for_if_weights_decay(name):
    optimizer, w = getattr(optim, name)(0.1, weight_decay=0.1), jnp.ones(2)
    with pytest.raises(ValueError, match=rf"^{name} needs params, as its weights decay: "):
        optimizer.update(w, optimizer.init(w))


def numbers():
    """Each parameter of each optimizer that is a number."""
    for name, make in constructors().items():
        for p in inspect.signature(make).parameters.values():
            free = p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
            known = isinstance(p.default, float) or p.name.endswith("learning_rate")
            if known or (free and p.name not in GIVEN):
                yield name, p.name


@pytest.mark.parametrize("name, number", list(numbers()))
def test_numbers_are_not_negative(name, number):
    make = constructors()[name]
    needed = [
        p.name
        for p in inspect.signature(make).parameters.values()
        if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    given = {n: GIVEN.get(n, 0.5) for n in needed}
    make(**given)
    with pytest.raises(
        ValueError, match=rf"^{name} needs {number} of at least [04](\.0)?; got -0.1.$"
    ):
        make(**given | {number: -0.1})
    with pytest.raises(TypeError, match=rf"^{name} needs a number for {number}; got 'x'.$"):
        make(**given | {number: "x"})


@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda: optim.clip(-1.0),
            ValueError,
            "clip needs limit of at least 0.0; got -1.0.",
        ),
        (
            lambda: optim.scale_by_schedule(0.1),
            TypeError,
            "scale_by_schedule needs a function of the step; got float.",
        ),
        (
            lambda: optim.accumulate(optim.sgd(0.1), 0),
            ValueError,
            "accumulate needs every of at least 1; got 0.",
        ),
        (
            lambda: optim.lookahead(optim.sgd, 5),
            TypeError,
            "lookahead needs optimizers, each with init and update; got function.",
        ),
        (
            lambda: optim.schedule_free(optim.sgd(0.1), 0.1, 0.0),
            ValueError,
            "schedule_free needs beta above 0; got 0.0.",
        ),
        (
            lambda: optim.lookahead(optim.sgd(0.1), alpha=1.5),
            ValueError,
            r"lookahead needs alpha in \[0, 1\]; got 1.5.",
        ),
        (
            lambda: optim.muon(0.1, adam_b1=1.0),
            ValueError,
            r"muon needs adam_b1 in \[0, 1\); got 1.0.",
        ),
        (
            lambda: optim.add_noise(0.1, 0.5, jnp.ones(2)),
            TypeError,
            r"add_noise needs a jax.random.key; got Array.*",
        ),
        (
            lambda: optim.add_noise(0.1, 0.5, 3),
            TypeError,
            "add_noise needs a jax.random.key; got 3.",
        ),
        (
            lambda: optim.schedule_free_params(optim.ClipState(), jnp.ones(2)),
            ValueError,
            "schedule_free_params needs the state of schedule_free; got ClipState.",
        ),
        (
            lambda: optim.partition({"a": optim.sgd(0.1)}, "b").init(jnp.ones(2)),
            ValueError,
            "partition needs an optimizer for each label; got label 'b' and optimizers "
            r"for \[\"'a'\"\].",
        ),
        (
            lambda: optim.adamw(0.1, mask={"b": True}).update(
                {"a": jnp.ones(2)},
                optim.adamw(0.1).init({"a": jnp.ones(2)}),
                {"a": jnp.ones(2)},
            ),
            ValueError,
            "adamw needs a mask whose structure is that of params, or a prefix of it; .*",
        ),
        (
            lambda: optim.muon(0.1, matrices=True).update(
                jnp.ones(2), optim.muon(0.1, matrices=True).init(jnp.ones(2)), jnp.ones(2)
            ),
            ValueError,
            r"muon needs matrices of two axes or more; got shape \(2,\) at the root.",
        ),
        (
            lambda: optim.hutchinson(KEY).update(jnp.ones(2), None, jnp.ones(2)),
            TypeError,
            "hutchinson needs loss, a function of params: .*; got NoneType.",
        ),
        (
            lambda: optim.radam(0.1, threshold=3.0),
            ValueError,
            "radam needs threshold of at least 4; got 3.0.",
        ),
    ],
)
def test_wrong_use(call, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        call()
