"""Every wrapper does what it says: steps of it equal optax's."""

import inspect

import jax
import jax.numpy as jnp
import optax
import optax.contrib
import pytest

from funcnn import optim
from tests.support.optim_peers import matrices, multi_steps, optax_lookahead, rate
from tests.support.optim_runs import (
    assert_close,
    assert_trees_close,
    first_steps,
    short_trajectory,
    trajectory,
)


def rising(step):
    return 0.1 * jnp.minimum((step.astype(float) + 1.0) / 10.0, 1.0)


def labels(params):
    return jax.tree.map(lambda w: "ab"[w.ndim % 2], params)


PAIRS = {
    "schedule_free": (
        optim.schedule_free(optim.sgd(0.1), 0.1),
        optax.contrib.schedule_free(optax.sgd(0.1), 0.1),
    ),
    "schedule_free, adam": (
        optim.schedule_free(optim.adam(rate, b1=0.0), rate, 0.8, 1.0),
        optax.contrib.schedule_free(
            optax.adam(rate, b1=0.0), lambda step: rate(step - 1), 0.8, 1.0
        ),
    ),
    "schedule_free, warm-up": (
        optim.schedule_free(optim.sgd(rising), rising, 0.8, 1.5),
        optax.contrib.schedule_free(
            optax.sgd(rising), lambda step: rising(step - 1), 0.8, 1.5
        ),
    ),
    "lookahead": (
        optim.lookahead(optim.adam(rate)),
        optax_lookahead(optax.adam(rate), sync_period=5, slow_step_size=0.5),
    ),
    "lookahead, all": (
        optim.lookahead(optim.sgd(rate, 0.9), 7, 0.8),
        optax_lookahead(optax.sgd(rate, 0.9), sync_period=7, slow_step_size=0.8),
    ),
    "accumulate": (
        optim.accumulate(optim.adamw(rate), 4),
        multi_steps(optax.adamw(rate), 4),
    ),
    "masked": (
        optim.masked(optim.adam(rate), matrices),
        optax.masked(optax.adam(rate), matrices),
    ),
    "partition": (
        optim.partition({"a": optim.adam(rate), "b": optim.sgd(0.1, 0.9)}, labels),
        optax.partition({"a": optax.adam(rate), "b": optax.sgd(0.1, 0.9)}, labels),
    ),
    "apply_if_finite": (
        optim.apply_if_finite(optim.adam(rate), 3),
        optax.apply_if_finite(optax.adam(rate), 3),
    ),
    "inject": (
        optim.inject(optim.adamw, learning_rate=rate, b1=0.8, weight_decay=0.1),
        optax.inject_hyperparams(optax.adamw)(rate, b1=0.8, weight_decay=0.1),
    ),
    "inject, weight decay": (
        optim.inject(optim.adamw, learning_rate=0.1, weight_decay=rate),
        optax.inject_hyperparams(optax.adamw)(0.1, weight_decay=rate),
    ),
    "chain": (
        optim.chain(optim.scale_by_adam(), optim.trace(0.5), optim.scale(0.1)),
        optax.chain(optax.scale_by_adam(), optax.trace(0.5), optax.scale(0.1)),
    ),
    "chain, mixed": (
        optim.chain(
            optim.partition({"a": optax.adam(0.1), "b": optim.lion(0.1)}, labels),
            optax.ema(0.9),
            optim.accumulate(optax.identity(), 2),
        ),
        optax.chain(
            optax.partition({"a": optax.adam(0.1), "b": optax.lion(0.1)}, labels),
            optax.ema(0.9),
            multi_steps(optax.identity(), 2),
        ),
    ),
    "chain, ours in optax's": (
        optax.chain(
            optim.clip_by_global_norm(4.0),
            optax.scale(2.0),
            optim.add_decayed_weights(0.1),
            optim.adamw(rate),
        ),
        optax.chain(
            optax.clip_by_global_norm(4.0),
            optax.scale(2.0),
            optax.add_decayed_weights(0.1),
            optax.adamw(rate),
        ),
    ),
    "chain, optax's in ours": (
        optim.chain(
            optax.clip_by_global_norm(4.0),
            optim.add_decayed_weights(0.1),
            optax.scale_by_adam(),
            optim.chain(optim.sgd(0.1), optax.scale(0.5)),
        ),
        optax.chain(
            optax.clip_by_global_norm(4.0),
            optax.add_decayed_weights(0.1),
            optax.scale_by_adam(),
            optax.sgd(0.05),
        ),
    ),
    "masked, by optax's": (
        optax.masked(optim.adamw(0.1), lambda p: jax.tree.map(lambda a: a.ndim > 1, p)),
        optax.masked(optax.adamw(0.1), lambda p: jax.tree.map(lambda a: a.ndim > 1, p)),
    ),
    "chain, empty": (optim.chain(), optax.identity()),
}
# optax's optimizers among ours promote dtypes.
MIXED = {"chain, mixed", "chain, ours in optax's", "chain, optax's in ours"}
MIXED |= {"masked, by optax's"}
# These branch.
BRANCH = {"accumulate", "apply_if_finite", "chain, mixed"}
# Compared with formulas, in files of their own.
OTHERS = {"master_weights", "stochastic_rounding", "schedule_free_params", "per_layer"}
each = pytest.mark.parametrize("name", PAIRS)


def both(name, run, **more):
    """Runs of ours and of optax's."""
    ours, theirs = PAIRS[name]
    yield run(ours, "standard" if name in MIXED else "strict", **more)
    yield run(theirs, "standard", **more)


def test_every_wrapper_is_compared():
    public = {
        name
        for name, value in vars(optim).items()
        if inspect.isfunction(value)
        and value.__module__.startswith("funcnn.optim.wrappers.")
    }
    assert public == {name.split(",")[0] for name in PAIRS} | OTHERS


@each
def test_equals_optax_in_the_first_steps(name):
    assert_close(*both(name, short_trajectory if name in BRANCH else first_steps))


@pytest.mark.exhaustive
@each
def test_equals_optax_for_500_steps(name):
    assert_close(*both(name, trajectory))


@pytest.mark.parametrize("name", [n for n in PAIRS if "optax's" in n or "empty" in n])
def test_bfloat16_first_steps_equal_optax(name):
    """One bfloat16 rounding is 2^-8; optax rounds several times in a step."""
    runs = both(name, first_steps, steps=3, dtype=jnp.bfloat16)
    assert_trees_close(*runs, 2**-5, 2**-5)


def test_the_comparison_catches_a_planted_fault():
    faulty = optim.schedule_free(optim.sgd(0.1), 0.1, 0.9000001)
    want = first_steps(PAIRS["schedule_free"][1], "standard")
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_close(first_steps(faulty), want)
