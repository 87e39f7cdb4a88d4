"""Every method is the one it says: steps of it equal optax's."""

import inspect

import jax
import jax.numpy as jnp
import optax
import optax.contrib
import pytest

from funcnn import optim
from tests.support.optim_peers import (
    decaying,
    estimate,
    matrices,
    optax_adafactor,
    optax_muon,
    optax_sophia,
    rate,
)
from tests.support.optim_runs import (
    Block,
    assert_close,
    assert_trees_close,
    first_steps,
    short_trajectory,
    trajectory,
)


def kernels_too(params):
    return jax.tree.map(lambda w: w.ndim >= 2, params)


WARMUP = optax.warmup_cosine_decay_schedule(0.0, 0.1, 10, 80)
DECAYS = {"stem": True, "body": False, "head": Block(True, None)}
PAIRS = {
    "sgd": (optim.sgd(rate), optax.sgd(rate)),
    "sgd, Nesterov": (optim.sgd(rate, 0.9, True), optax.sgd(rate, 0.9, True)),
    "rmsprop": (optim.rmsprop(rate), optax.rmsprop(rate)),
    "rmsprop, eps outside": (
        optim.rmsprop(rate, 0.99, 1e-3, eps_in_sqrt=False),
        optax.rmsprop(rate, 0.99, 1e-3, eps_in_sqrt=False),
    ),
    "rmsprop, centred": (
        optim.rmsprop(0.01, 0.9, 1e-3, True, 0.9),
        optax.rmsprop(0.01, 0.9, 1e-3, centered=True, momentum=0.9),
    ),
    "rmsprop, Nesterov": (
        optim.rmsprop(0.01, momentum=0.9, nesterov=True),
        optax.rmsprop(0.01, momentum=0.9, nesterov=True),
    ),
    "adagrad": (optim.adagrad(rate), optax.adagrad(rate)),
    "adagrad, from 0": (optim.adagrad(rate, 0.0, 0.1), optax.adagrad(rate, 0.0, 0.1)),
    "adadelta": (optim.adadelta(rate), optax.adadelta(rate)),
    "adadelta, all": (optim.adadelta(1.0, 0.8, 1e-3), optax.adadelta(1.0, 0.8, 1e-3)),
    "adam": (optim.adam(rate), optax.adam(rate)),
    "adam, all": (
        optim.adam(0.1, 0.8, 0.99, 1e-3),
        optax.adam(0.1, 0.8, 0.99, 1e-3),
    ),
    "adam, without means": (optim.adam(0.1, 0, 0), optax.adam(0.1, 0.0, 0.0)),
    "adamw, default decay": (optim.adamw(0.1), optax.adamw(0.1, weight_decay=1e-4)),
    "adamw, strong": (
        optim.adamw(0.1, 0.8, 0.99, 1e-3, 0.3),
        optax.adamw(0.1, 0.8, 0.99, 1e-3, weight_decay=0.3),
    ),
    "adamw, optax's schedule": (optim.adamw(WARMUP), optax.adamw(WARMUP)),
    "sgd, a number": (optim.sgd(0.1), optax.sgd(0.1)),
    "sgd, momentum": (optim.sgd(0.1, 0.9), optax.sgd(0.1, 0.9)),
    "amsgrad": (optim.amsgrad(rate), optax.amsgrad(rate)),
    "amsgrad, all": (
        optim.amsgrad(rate, 0.8, 0.9, 1e-3),
        optax.amsgrad(rate, 0.8, 0.9, 1e-3),
    ),
    "amsgrad, weights decay": (
        optim.amsgrad(rate, weight_decay=0.1, mask=matrices),
        decaying(optax.scale_by_amsgrad()),
    ),
    "adamw": (
        optim.adamw(rate, weight_decay=0.1, mask=DECAYS),
        optax.adamw(
            rate, weight_decay=0.1, mask={"stem": True, "body": False, "head": True}
        ),
    ),
    "adamax": (optim.adamax(rate), optax.adamax(rate)),
    "adamax, all": (
        optim.adamax(rate, 0.8, 0.99, 1e-3),
        optax.adamax(rate, 0.8, 0.99, 1e-3),
    ),
    "adamax, weights decay": (
        optim.adamax(rate, weight_decay=0.1, mask=matrices),
        optax.adamaxw(rate, weight_decay=0.1, mask=matrices),
    ),
    "nadam": (optim.nadam(rate), optax.nadam(rate)),
    "nadam, weights decay": (
        optim.nadam(rate, weight_decay=0.1, mask=matrices),
        optax.nadamw(rate, weight_decay=0.1, mask=matrices),
    ),
    "nadam, all": (optim.nadam(rate, 0.8, 0.99, 1e-3), optax.nadam(rate, 0.8, 0.99, 1e-3)),
    "radam": (optim.radam(rate), optax.radam(rate)),
    "radam, a short memory": (optim.radam(rate, b2=0.99), optax.radam(rate, b2=0.99)),
    "radam, weights decay": (
        optim.radam(rate, weight_decay=0.1, mask=matrices),
        decaying(optax.scale_by_radam()),
    ),
    "radam, all": (
        optim.radam(rate, 0.8, 0.9, 1e-3, 4.5),
        optax.radam(rate, 0.8, 0.9, 1e-3, threshold=4.5),
    ),
    "lion": (optim.lion(rate), optax.lion(rate)),
    "lion, all": (
        optim.lion(rate, 0.8, 0.9, 0.1, mask=matrices),
        optax.lion(rate, 0.8, 0.9, weight_decay=0.1, mask=matrices),
    ),
    "lion, a short memory": (optim.lion(rate, 0.9, 0.3), optax.lion(rate, 0.9, 0.3)),
    "lion, arrays": (
        optim.lion(rate, jnp.asarray(0.9), jnp.asarray(0.99)),
        optax.lion(rate),
    ),
    "lamb": (optim.lamb(rate), optax.lamb(rate)),
    "lamb, all": (
        optim.lamb(rate, 0.8, 0.99, 1e-3, 0.1, mask=matrices),
        optax.lamb(rate, 0.8, 0.99, 1e-3, weight_decay=0.1, mask=matrices),
    ),
    "lars": (optim.lars(rate), optax.lars(rate)),
    "lars, all": (
        optim.lars(rate, 0.8, 0.1, 0.01, 0.1, True, mask=matrices),
        optax.lars(rate, 0.1, matrices, 0.01, 0.1, momentum=0.8, nesterov=True),
    ),
    "adafactor": (optim.adafactor(0.1, weight_decay=0.1), optax_adafactor()),
    "adafactor, factored": (
        optim.adafactor(0.1, 0.9, weight_decay=0.1, least_size=2),
        optax_adafactor(min_dim_size_to_factor=2, decay_rate=0.9),
    ),
    "muon": (
        optim.muon(rate, weight_decay=0.1, adam_learning_rate=0.01),
        optax_muon(rate, 0.01, matrices),
    ),
    "muon, kernels": (
        optim.muon(rate, 0.9, 0.1, nesterov=False, iterations=3, matrices=kernels_too),
        optax_muon(rate, rate, kernels_too, beta=0.9, nesterov=False, ns_steps=3),
    ),
    "sophia": (optim.sophia(rate, estimate()), optax_sophia()),
    "sophia, all": (
        optim.sophia(rate, estimate(), 0.9, 0.8, 1e-3, gamma=0.1, clip=0.5, every=3),
        optax_sophia(
            b1=0.9, b2=0.8, eps=1e-3, gamma=0.1, clip_threshold=0.5, update_interval=3
        ),
    ),
    "scale_by_adam": (optim.scale_by_adam(), optax.scale_by_adam()),
    "scale_by_rms": (optim.scale_by_rms(centered=True), optax.scale_by_stddev()),
    "scale_by_lion": (optim.scale_by_lion(), optax.scale_by_lion()),
}


# These branch.
BRANCH = {"sophia", "sophia, all"}
# Of others, optax's make more of roundings than these tolerances allow.
LOW = {"sgd", "adam", "adamw"}
each = pytest.mark.parametrize("name", PAIRS)


def strictness(name):
    """optax's schedules promote dtypes."""
    return "standard" if "optax's" in name else "strict"


def test_every_method_is_compared():
    methods = {
        name
        for name, value in vars(optim).items()
        if inspect.isfunction(value)
        and value.__module__.startswith("funcnn.optim.methods.")
    }
    assert methods == {name.split(",")[0] for name in PAIRS}


@each
def test_equals_optax_in_the_first_steps(name):
    ours, theirs = PAIRS[name]
    run = short_trajectory if name in BRANCH else first_steps
    assert_close(run(ours, strictness(name)), run(theirs, "standard"))


@pytest.mark.exhaustive
@each
def test_equals_optax_for_500_steps(name):
    ours, theirs = PAIRS[name]
    assert_close(trajectory(ours, strictness(name)), trajectory(theirs, "standard"))


@pytest.mark.parametrize("name", [n for n in PAIRS if n.split(",")[0] in LOW])
def test_bfloat16_first_steps_equal_optax(name):
    """One bfloat16 rounding is 2^-8; optax rounds several times in a step."""
    ours, theirs = PAIRS[name]
    got = first_steps(ours, "standard", 3, jnp.bfloat16)
    want = first_steps(theirs, "standard", 3, jnp.bfloat16)
    assert_trees_close(got, want, 2**-5, 2**-5)


@pytest.mark.parametrize(
    "name, faulty",
    [
        ("adam", optim.adam(rate, b2=0.9990001)),
        ("adam", optim.adam(rate, eps=1.0001e-8)),
        ("adam", optim.adam(lambda step: rate(step) + 1e-9 * step.astype(float))),
        ("adamax", optim.adamax(rate, b2=0.999001)),
        ("lamb", optim.lamb(rate, weight_decay=1e-9)),
        ("lamb, all", optim.lamb(rate, 0.8, 0.99, 1e-3, 0.1)),
        ("nadam, weights decay", optim.nadam(rate, weight_decay=0.1)),
        ("radam", optim.radam(rate, threshold=6.5)),
        ("adafactor", optim.adafactor(0.1, 0.8000001, weight_decay=0.1)),
    ],
)
def test_the_comparison_catches_a_planted_fault(name, faulty):
    want = first_steps(PAIRS[name][1], "standard")
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_close(first_steps(faulty), want)
