"""Optimizers against optax step for step, under every transformation."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from funcnn import optim
from tests.support.optim_runs import assert_trees_close


class Head(NamedTuple):
    weight: jax.Array
    bias: jax.Array | None


def tree(rng, dtype=jnp.float64):
    """Nested params with an empty subtree, a None, a scalar and an empty array."""

    def normal(*shape):
        return jnp.asarray(rng.standard_normal(shape), dtype)

    return {
        "stem": {"weight": normal(3, 4), "bias": normal(4)},
        "body": ((), normal(), [normal(2, 1, 2)]),
        "head": Head(normal(4, 2), None),
        "none": normal(0, 3),
    }


def run(optimizer, steps=100, dtype=jnp.float64, apply=optim.apply_updates):
    """Updates and params after each of some steps on random gradients."""
    rng = np.random.default_rng(1)
    params = tree(rng, dtype)
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    trajectory = []
    for _ in range(steps):
        grads = tree(rng, dtype)
        updates, state = update(grads, state, params)
        params = apply(params, updates)
        trajectory.append((updates, params))
    return trajectory, state


def run_optax(optimizer, steps=100, dtype=jnp.float64):
    """As `run`; optax adds integers to floats."""
    with jax.numpy_dtype_promotion("standard"):
        return run(optimizer, steps, dtype, optax.apply_updates)


def schedule(step):
    t = step.astype(float)
    return 0.1 * jnp.minimum((t + 1.0) / 10, 9.0 / (t + 0.5))


WARMUP = optax.warmup_cosine_decay_schedule(0.0, 0.1, 10, 80)
PAIRS = {
    "sgd": (optim.sgd(0.1), optax.sgd(0.1)),
    "momentum": (optim.sgd(0.1, 0.9), optax.sgd(0.1, 0.9)),
    "nesterov": (
        optim.sgd(0.1, momentum=0.9, nesterov=True),
        optax.sgd(0.1, 0.9, nesterov=True),
    ),
    "adam": (optim.adam(0.1), optax.adam(0.1)),
    "adam, all arguments": (
        optim.adam(0.1, 0.8, 0.99, 1e-3),
        optax.adam(0.1, 0.8, 0.99, 1e-3),
    ),
    "adam without means": (optim.adam(0.1, 0, 0), optax.adam(0.1, 0.0, 0.0)),
    "adamw": (optim.adamw(0.1), optax.adamw(0.1, weight_decay=1e-4)),
    "adamw, strong": (
        optim.adamw(0.1, 0.8, 0.99, 1e-3, 0.3),
        optax.adamw(0.1, 0.8, 0.99, 1e-3, weight_decay=0.3),
    ),
    "sgd, schedule": (optim.sgd(schedule), optax.sgd(schedule)),
    "nesterov, schedule": (
        optim.sgd(schedule, 0.9, True),
        optax.sgd(schedule, 0.9, True),
    ),
    "adam, schedule": (optim.adam(schedule), optax.adam(schedule)),
    "adamw, optax's schedule": (optim.adamw(WARMUP), optax.adamw(WARMUP)),
    "adamw, schedule": (
        optim.adamw(schedule, weight_decay=0.1),
        optax.adamw(schedule, weight_decay=0.1),
    ),
    "L2": (
        optim.chain(optim.add_decayed_weights(0.2), optim.adam(0.1)),
        optax.chain(optax.add_decayed_weights(0.2), optax.adam(0.1)),
    ),
    "clipped": (
        optim.chain(optim.clip_by_global_norm(4.0), optim.sgd(0.1, 0.9)),
        optax.chain(optax.clip_by_global_norm(4.0), optax.sgd(0.1, 0.9)),
    ),
    "ours in optax.chain": (
        optax.chain(
            optim.clip_by_global_norm(4.0),
            optax.scale(2.0),
            optim.add_decayed_weights(0.1),
            optim.adamw(schedule),
        ),
        optax.chain(
            optax.clip_by_global_norm(4.0),
            optax.scale(2.0),
            optax.add_decayed_weights(0.1),
            optax.adamw(schedule),
        ),
    ),
    "optax's in our chain": (
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
    "ours, masked by optax": (
        optax.masked(optim.adamw(0.1), lambda p: jax.tree.map(lambda a: a.ndim > 1, p)),
        optax.masked(optax.adamw(0.1), lambda p: jax.tree.map(lambda a: a.ndim > 1, p)),
    ),
    "empty chain": (optim.chain(), optax.identity()),
}
SOME = {
    "sgd": optim.sgd(0.1),
    "nesterov": optim.sgd(0.1, 0.9, True),
    "adam": optim.adam(0.1),
    "adamw": optim.adamw(0.1),
    "chain": optim.chain(
        optim.clip_by_global_norm(2.0),
        optim.add_decayed_weights(0.1),
        optim.adam(schedule),
    ),
}
each_optimizer = pytest.mark.parametrize("optimizer", SOME.values(), ids=SOME)


@pytest.fixture(params=PAIRS)
def pair(request):
    """Ours and optax's; strict promotion wherever no part is optax's."""
    promotion = "standard" if "optax" in request.param else "strict"
    with jax.numpy_dtype_promotion(promotion):
        yield PAIRS[request.param]


def test_equals_optax_step_for_step(pair):
    got, _ = run(pair[0])
    want, _ = run_optax(pair[1])
    for g, w in zip(got, want, strict=True):
        assert_trees_close(g, w)


@pytest.mark.parametrize(
    "faulty",
    [
        optim.adam(0.1, b2=0.9990001),
        optim.adam(0.1, eps=1.0001e-8),
        optim.adam(lambda step: 0.1 + 1e-9 * step.astype(float)),
    ],
)
def test_the_comparison_catches_a_planted_fault(faulty):
    got, _ = run(faulty)
    want, _ = run_optax(optax.adam(0.1))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_trees_close(got, want)


def test_bfloat16_first_steps_equal_optax(pair):
    """One bfloat16 rounding is 2^-8; optax rounds several times in a step."""
    got, _ = run(pair[0], 3, jnp.bfloat16)
    want, _ = run_optax(pair[1], 3, jnp.bfloat16)
    assert_trees_close(got, want, rtol=2**-5, atol=2**-5)


@each_optimizer
def test_bfloat16_follows_float64(optimizer):
    """All that low precision costs is the rounding of state, params and updates."""
    rng = np.random.default_rng(0)
    low = tree(rng, jnp.bfloat16)
    high = jax.tree.map(lambda a: a.astype(jnp.float64), low)
    low_state, high_state = optimizer.init(low), optimizer.init(high)
    grads = tree(rng, jnp.bfloat16)
    low_updates, low_state = optimizer.update(grads, low_state, low)
    grads = jax.tree.map(lambda a: a.astype(jnp.float64), grads)
    high_updates, _ = optimizer.update(grads, high_state, high)
    for a, b in zip(
        jax.tree.leaves(low_updates), jax.tree.leaves(high_updates), strict=True
    ):
        assert a.dtype == jnp.bfloat16
        np.testing.assert_allclose(a.astype(jnp.float64), b, rtol=2**-7)


@pytest.mark.parametrize(
    "optimizer",
    [optim.sgd(0.1), optim.sgd(0.1, 0.9, True), optim.add_decayed_weights(0.3)],
)
def test_bfloat16_rounds_once(optimizer):
    rng = np.random.default_rng(0)
    low = {name: jnp.asarray(rng.standard_normal(200), jnp.bfloat16) for name in "gw"}
    high = {name: a.astype(jnp.float64) for name, a in low.items()}
    got, want = (
        optimizer.update(t["g"], optimizer.init(t["w"]), t["w"])[0] for t in (low, high)
    )
    np.testing.assert_allclose(got.astype(jnp.float64), want, rtol=2**-8)


def test_float16_keeps_eps():
    """1e-8 is 0 in float16, and a gradient of 0 would give 0 / 0."""
    optimizer, w = optim.adam(0.1), jnp.zeros(3, jnp.float16)
    np.testing.assert_array_equal(optimizer.update(w, optimizer.init(w))[0], w)


@each_optimizer
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_dtypes_stay(optimizer, dtype):
    trajectory, state = run(optimizer, 3, dtype)
    floats = [a for a in jax.tree.leaves((trajectory, state)) if a.dtype != jnp.int32]
    assert {a.dtype for a in floats} == {jnp.dtype(dtype)}


@each_optimizer
def test_mixed_dtypes(optimizer):
    """Moments follow the params, updates the gradients, new params the old ones."""
    params = {"w": jnp.ones(3, jnp.bfloat16), "b": jnp.ones(2, jnp.float32)}
    grads = {"w": jnp.ones(3, jnp.float32), "b": jnp.ones(2, jnp.float64)}
    before = optimizer.init(params)
    updates, after = optimizer.update(grads, before, params)

    def kinds(tree):
        return jax.tree.map(lambda a: (a.shape, a.dtype), tree)

    assert kinds(after) == kinds(before)
    assert kinds(updates) == kinds(grads)
    assert kinds(optim.apply_updates(params, updates)) == kinds(params)


def test_float32_bias_correction_does_not_cancel():
    """In the first step Adam moves by the learning rate, whatever the gradient."""
    optimizer = optim.adam(1.0, b2=0.99999, eps=0.0)
    w = jnp.zeros(4, jnp.float32)
    grads = jnp.asarray([1e-3, 0.1, 3.0, -70.0], jnp.float32)
    with jax.enable_x64(False):
        updates, _ = optimizer.update(grads, optimizer.init(w))
    np.testing.assert_allclose(updates, -np.sign(grads), rtol=1e-6)


@each_optimizer
def test_second_update_compiles_nothing(optimizer):
    @jax.jit
    def step(params, state, grads):
        updates, state = optimizer.update(grads, state, params)
        return optim.apply_updates(params, updates), state

    rng = np.random.default_rng(0)
    params, grads = tree(rng), tree(rng)
    state = optimizer.init(params)
    for _ in range(3):
        params, state = step(params, state, grads)
    assert step._cache_size() == 1


def test_state_of_weakly_typed_params_compiles_once():
    optimizer = optim.adam(0.1)
    params = {"w": jnp.asarray(1.0)}
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    for _ in range(2):
        _, state = update(params, state, params)
    assert update._cache_size() == 1


@pytest.mark.parametrize(
    "make",
    [
        optim.sgd,
        lambda rate: optim.sgd(rate, 0.9, True),
        optim.adam,
        lambda rate: optim.adamw(rate, weight_decay=0.1),
        lambda rate: optim.chain(optim.add_decayed_weights(rate), optim.sgd(0.1)),
        lambda rate: optim.chain(optim.clip_by_global_norm(rate), optim.sgd(0.1)),
        lambda rate: optim.sgd(0.1, momentum=rate),
        lambda rate: optim.adam(0.1, b1=rate, b2=0.999 + rate / 100, eps=rate / 10),
        lambda rate: optim.adamw(0.1, weight_decay=rate),
        lambda rate: optim.sgd(lambda step: rate / (1.0 + step.astype(float))),
    ],
)
def test_vmap_over_hyperparameters_equals_separate_runs(make):
    rng = np.random.default_rng(0)
    start, grads = tree(rng), [tree(rng) for _ in range(5)]

    def final(rate):
        optimizer = make(rate)
        params, state = start, optimizer.init(start)
        for g in grads:
            updates, state = optimizer.update(g, state, params)
            params = optim.apply_updates(params, updates)
        return params

    rates = [0.01, 0.03, 0.09]
    together = jax.jit(jax.vmap(final))(jnp.asarray(rates))
    apart = [final(rate) for rate in rates]
    assert_trees_close(together, jax.tree.map(lambda *a: jnp.stack(a), *apart), 1e-11)


@each_optimizer
def test_scan_equals_loop(optimizer):
    rng = np.random.default_rng(1)
    start, grads = tree(rng), [tree(rng) for _ in range(20)]

    def body(carry, g):
        params, state = carry
        updates, state = optimizer.update(g, state, params)
        return (optim.apply_updates(params, updates), state), None

    stacked = jax.tree.map(lambda *a: jnp.stack(a), *grads)
    got, _ = jax.lax.scan(body, (start, optimizer.init(start)), stacked)
    trajectory, state = run(optimizer, 20)
    assert_trees_close(got, (trajectory[-1][1], state))


@each_optimizer
@pytest.mark.parametrize("params", [{}, (), {"a": None, "b": ()}], ids=str)
def test_trees_without_leaves(optimizer, params):
    state = optimizer.init(params)
    updates, state = optimizer.update(params, state, params)
    assert updates == params
    assert optim.apply_updates(params, updates) == params


@each_optimizer
def test_update_is_pure(optimizer):
    rng = np.random.default_rng(0)
    params, grads = tree(rng), tree(rng)
    state = optimizer.init(params)
    first, second = (optimizer.update(grads, state, params) for _ in range(2))
    assert_trees_close(first, second, 0, 0)


def test_a_bare_array_and_python_floats_are_trees():
    for w in (jnp.ones(3), 2.0):
        optimizer = optim.sgd(0.5, 0.9)
        updates, _ = optimizer.update(w, optimizer.init(w), w)
        got = optim.apply_updates(w, updates)
        np.testing.assert_allclose(got, 0.5 * jnp.asarray(w))


def test_concrete_array_hyperparameters_inside_jit():
    rate = jnp.asarray(0.25)

    @jax.jit
    def step(w):
        optimizer = optim.sgd(rate, momentum=np.asarray(0.5))
        return optimizer.update(w, optimizer.init(w))[0]

    np.testing.assert_allclose(step(jnp.ones(2)), -0.25)


def test_optax_injects_hyperparameters():
    optimizer = optax.inject_hyperparams(optim.adamw)(learning_rate=schedule, b1=0.8)
    with jax.numpy_dtype_promotion("standard"):
        got, _ = run(optimizer, 20)
    want, _ = run(optim.adamw(schedule, b1=0.8), 20)
    assert_trees_close(got, want)


def test_schedules_count_from_zero():
    seen = []
    optimizer = optim.sgd(lambda step: seen.append(int(step)) or 0.1)
    state = optimizer.init(jnp.ones(2))
    for _ in range(3):
        _, state = optimizer.update(jnp.ones(2), state)
    assert seen == [0, 1, 2]
