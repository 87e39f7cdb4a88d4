"""Every transformation is the one it says: steps of it equal optax's."""

import inspect

import jax
import jax.numpy as jnp
import optax
import pytest

from funcnn import optim
from tests.support.optim_peers import kernels_as_matrices, matrices, rate, turned
from tests.support.optim_runs import (
    assert_close,
    assert_trees_close,
    first_steps,
    trajectory,
)

KEY = jax.random.key(0)

FROZEN = {"stem": True, "body": False, "head": False}
PAIRS = {
    "add_decayed_weights": (
        optim.add_decayed_weights(0.01, matrices),
        optax.add_decayed_weights(0.01, matrices),
    ),
    "clip": (optim.clip(0.5), optax.clip(0.5)),
    "clip_by_global_norm": (
        optim.clip_by_global_norm(6.0),
        optax.clip_by_global_norm(6.0),
    ),
    "clip_by_block_rms": (optim.clip_by_block_rms(1.0), optax.clip_by_block_rms(1.0)),
    "adaptive_grad_clip": (
        optim.chain(optim.adaptive_grad_clip(0.1), optim.sgd(0.1)),
        optax.chain(kernels_as_matrices(optax.adaptive_grad_clip(0.1)), optax.sgd(0.1)),
    ),
    "scale": (optim.scale(0.3), optax.scale(0.3)),
    "trace": (optim.trace(0.9), optax.trace(0.9)),
    "trace, Nesterov": (optim.trace(0.9, True), optax.trace(0.9, nesterov=True)),
    "centralize": (optim.centralize(), turned(optax.centralize())),
    "add_noise": (optim.add_noise(0.5, 0.55, KEY), optax.add_noise(0.5, 0.55, KEY)),
    "freeze": (
        optim.chain(optim.adam(rate), optim.freeze(FROZEN)),
        optax.chain(optax.adam(rate), optax.freeze(FROZEN)),
    ),
    "scale_by_schedule": (optim.scale_by_schedule(rate), optax.scale_by_schedule(rate)),
    "scale_by_learning_rate": (
        optim.scale_by_learning_rate(rate),
        optax.scale_by_learning_rate(rate),
    ),
    "scale_by_trust_ratio": (
        optim.scale_by_trust_ratio(0.1, 0.2),
        optax.scale_by_trust_ratio(trust_coefficient=0.1, eps=0.2),
    ),
    "add_decayed_weights, before adam": (
        optim.chain(optim.add_decayed_weights(0.2), optim.adam(0.1)),
        optax.chain(optax.add_decayed_weights(0.2), optax.adam(0.1)),
    ),
    "clip_by_global_norm, before sgd": (
        optim.chain(optim.clip_by_global_norm(4.0), optim.sgd(0.1, 0.9)),
        optax.chain(optax.clip_by_global_norm(4.0), optax.sgd(0.1, 0.9)),
    ),
}
# Compared with a formula, in a file of their own.
OTHERS = {"ema_params", "hutchinson"}
each = pytest.mark.parametrize("name", PAIRS)


def test_every_transformation_is_compared():
    public = {
        name
        for name, value in vars(optim).items()
        if inspect.isfunction(value)
        and value.__module__.startswith("funcnn.optim.transformations.")
    }
    assert public == {name.split(",")[0] for name in PAIRS} | OTHERS


@each
def test_equals_optax_in_the_first_steps(name):
    ours, theirs = PAIRS[name]
    assert_close(first_steps(ours), first_steps(theirs, "standard"))


@pytest.mark.exhaustive
@each
def test_equals_optax_for_500_steps(name):
    ours, theirs = PAIRS[name]
    assert_close(trajectory(ours), trajectory(theirs, "standard"))


@pytest.mark.parametrize("name", [name for name in PAIRS if ", before" in name])
def test_bfloat16_first_steps_equal_optax(name):
    """One bfloat16 rounding is 2^-8; optax rounds several times in a step."""
    ours, theirs = PAIRS[name]
    got = first_steps(ours, "standard", 3, jnp.bfloat16)
    want = first_steps(theirs, "standard", 3, jnp.bfloat16)
    assert_trees_close(got, want, 2**-5, 2**-5)
