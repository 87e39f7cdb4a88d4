"""Adam and gradient descent in low precision, traced, vmapped and scanned."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from funcnn import optim
from tests.support.optim_peers import rate
from tests.support.optim_runs import (
    GRADS,
    PARAMS,
    assert_trees_close,
    cast,
    first_steps,
    grads_at,
    pair,
)

PAIR = pair(PARAMS)
SOME = {
    "sgd": optim.sgd(0.1),
    "nesterov": optim.sgd(0.1, 0.9, True),
    "adam": optim.adam(0.1),
    "adamw": optim.adamw(0.1),
    "chain": optim.chain(
        optim.clip_by_global_norm(2.0),
        optim.add_decayed_weights(0.1),
        optim.adam(rate),
    ),
}
each_optimizer = pytest.mark.parametrize("optimizer", SOME.values(), ids=SOME)


@each_optimizer
def test_bfloat16_follows_float64(optimizer):
    """All that low precision costs is the rounding of state, params and updates."""
    low, grads = (cast(a, jnp.bfloat16) for a in (PAIR, pair(grads_at(0))))
    low_updates, _ = optimizer.update(grads, optimizer.init(low), low)
    high, grads = (cast(a, jnp.float64) for a in (low, grads))
    high_updates, _ = optimizer.update(grads, optimizer.init(high), high)
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
    params = cast(PARAMS, dtype)
    state = jax.eval_shape(optimizer.init, params)
    found = jax.eval_shape(optimizer.update, params, state, params)
    floats = [a for a in jax.tree.leaves((state, found)) if a.dtype != jnp.int32]
    assert {a.dtype for a in floats} == {jnp.dtype(dtype)}


@each_optimizer
def test_mixed_dtypes(optimizer):
    """Moments follow the params, updates the gradients, new params the old ones."""
    params = {"w": jnp.ones(3, jnp.bfloat16), "b": jnp.ones(2, jnp.float32)}
    grads = {"w": jnp.ones(3, jnp.float32), "b": jnp.ones(2, jnp.float64)}
    before = jax.eval_shape(optimizer.init, params)
    updates, after = jax.eval_shape(optimizer.update, grads, before, params)

    def kinds(tree):
        return jax.tree.map(lambda a: (a.shape, a.dtype), tree)

    assert kinds(after) == kinds(before)
    assert kinds(updates) == kinds(grads)
    new = jax.eval_shape(optim.apply_updates, params, updates)
    assert kinds(new) == kinds(params)


def test_float32_bias_correction_does_not_cancel():
    """In the first step Adam moves by the learning rate, whatever the gradient."""
    optimizer = optim.adam(1.0, b2=0.99999, eps=0.0)
    w = jnp.zeros(4, jnp.float32)
    grads = jnp.asarray([1e-3, 0.1, 3.0, -70.0], jnp.float32)
    with jax.enable_x64(False):
        updates, _ = optimizer.update(grads, optimizer.init(w))
    np.testing.assert_allclose(updates, -np.sign(grads), rtol=1e-6)


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
    grads = [pair(grads_at(step)) for step in range(3)]

    def final(rate):
        optimizer = make(rate)
        params, state = PAIR, optimizer.init(PAIR)
        for g in grads:
            updates, state = optimizer.update(g, state, params)
            params = optim.apply_updates(params, updates)
        return params

    rates = [0.01, 0.09]
    together = jax.vmap(final)(jnp.asarray(rates))
    apart = [final(rate) for rate in rates]
    assert_trees_close(together, jax.tree.map(lambda *a: np.stack(a), *apart), 1e-11)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n == "chain" else pytest.mark.exhaustive) for n in SOME],
)
def test_scan_equals_loop(name):
    """And the loop compiles nothing after its first step."""
    optimizer = SOME[name]

    def body(carry, g):
        params, state = carry
        updates, state = optimizer.update(g, state, params)
        return (optim.apply_updates(params, updates), state), None

    start, steps = (PARAMS, optimizer.init(PARAMS)), 20
    got, _ = jax.lax.scan(body, start, jax.tree.map(lambda a: a[:steps], GRADS))
    chex.clear_trace_counter()  # it counts by the function's name
    step, want = jax.jit(chex.assert_max_traces(body, n=1)), start
    for i in range(steps):
        want, _ = step(want, grads_at(i))
    assert_trees_close(got, want)


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
    optimizer = optax.inject_hyperparams(optim.adamw)(learning_rate=rate, b1=0.8)
    got = first_steps(optimizer, "standard")
    assert_trees_close(got, first_steps(optim.adamw(rate, b1=0.8)))


def test_schedules_count_from_zero():
    seen = []
    optimizer = optim.sgd(lambda step: seen.append(int(step)) or 0.1)
    state = optimizer.init(jnp.ones(2))
    for _ in range(3):
        _, state = optimizer.update(jnp.ones(2), state)
    assert seen == [0, 1, 2]
