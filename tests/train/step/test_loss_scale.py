"""A scaled loss leads where the loss does, and an overflow is skipped to the bit."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from funcnn import optim, train
from tests.support.step_runs import (
    KEY,
    assert_close,
    bits,
    dataset,
    learned,
    loss,
    start,
)


@pytest.mark.parametrize(
    "inner, n",
    [
        (optim.adam(0.02), 4),
        (optax.sgd(0.1), 1),
        pytest.param(optim.adam(0.02), 1, marks=pytest.mark.exhaustive),
        pytest.param(optax.sgd(0.1), 4, marks=pytest.mark.exhaustive),
    ],
)
def test_a_scale_changes_nothing_else(inner, n):
    state, _, metrics = learned(20, optimizer=inner, microbatches=n)
    scaled = train.dynamic_loss_scale(inner, 2.0**10, growth_interval=8)
    with_scale, _, same = learned(20, optimizer=scaled, microbatches=n)
    assert_close(with_scale.params, state.params, 1e-4)
    assert_close(same, metrics, 1e-5)
    got = with_scale.opt_state
    assert (got.scale, got.good_steps, got.skipped) == (2.0**12, 4, 0)


@pytest.mark.parametrize("n", [pytest.param(1, marks=pytest.mark.exhaustive), 4])
def test_an_overflow_skips_the_step_and_recovers(n):
    def planted(params, batch, key):
        # a gradient of 4: times the scale it is out of range of float16
        factor = jnp.where(batch[2].any(), 4.0, 0.0).astype(jnp.float16)
        value, metrics = loss(params, batch[:2], key)
        extra = factor * params[2]["bias"].sum()
        return value + extra.astype(value.dtype), metrics

    optimizer = train.dynamic_loss_scale(optim.adam(0.02), 2.0**15, growth_interval=3)
    step = train.make_step(planted, optimizer, microbatches=n, compute_dtype="float16")
    state = start(optimizer)
    state.params[2]["bias"] = state.params[2]["bias"].at[0].set(-0.0)
    x, labels = dataset()
    flags = np.zeros((8, 64), bool)
    flags[2] = True
    batches = np.stack([x] * 8), np.stack([labels] * 8), flags
    states, run = [state], jax.jit(step)
    for k in range(8):
        states.append(run(states[-1], jax.tree.map(lambda a, k=k: a[k], batches))[0])
    at_once, _ = jax.jit(train.scan_steps(step))(state, batches)
    assert_close(at_once.params, states[8].params, 0.01)
    assert bits(at_once.opt_state[:3]) == bits(states[8].opt_state[:3])
    scales = [float(s.opt_state.scale) for s in states]
    assert scales == [2.0**15] * 3 + [2.0**14] * 3 + [2.0**15] * 3
    assert [int(s.opt_state.skipped) for s in states] == [0] * 3 + [1] * 6
    assert [int(s.step) for s in states] == list(range(9))
    before, after = states[2:4]
    assert bits(after.params) == bits(before.params)
    assert bits(after.opt_state.inner) == bits(before.opt_state.inner)
    assert bits(states[4].params) != bits(after.params)
    value = [float(loss(s.params, (x, labels), KEY)[0]) for s in states]
    assert value[8] < value[3] < value[0]


def test_a_skipped_update_keeps_the_sign_of_zero():
    optimizer = train.dynamic_loss_scale(optim.sgd(0.1))
    params = {"a": jnp.array([-0.0, 0.0, 1.0])}
    state = optimizer.init(params)
    updates, state = optimizer.update({"a": jnp.array([jnp.nan, 0, 0])}, state, params)
    after = jax.jit(optim.apply_updates)(params, updates)
    assert bits(after) == bits(params)
    assert (state.scale, state.skipped) == (2.0**14, 1)


def test_metrics_show_the_loss_without_scale():
    plain, scaled = optim.sgd(0.1), train.dynamic_loss_scale(optim.sgd(0.1), 2.0**100)
    _, want = jax.jit(train.make_step(loss, plain))(start(plain), dataset())
    _, got = jax.jit(train.make_step(loss, scaled))(start(scaled), dataset())
    assert_close(got, want, 1e-6)  # squares of scaled gradients would be inf


def test_the_scale_stays_finite_and_above_zero():
    optimizer = train.dynamic_loss_scale(optim.sgd(0.1), growth_interval=1, factor=2.0**60)
    params = jnp.ones(2, jnp.float32)
    for grads, limit in (
        (jnp.full(2, jnp.inf, jnp.float32), np.finfo(np.float32).tiny),
        (jnp.zeros(2, jnp.float32), np.finfo(np.float32).max),
    ):
        state = optimizer.init(params)
        for _ in range(5):
            _, state = optimizer.update(grads, state, params)
        assert state.scale == limit


def test_low_precision_params_get_gradients_in_float32():
    def update(grads, state, params=None):
        return grads, grads

    inner = optim.Optimizer(jnp.zeros_like, update)
    optimizer = train.dynamic_loss_scale(inner, 2.0**15)
    params = jnp.ones(2, jnp.float16)
    state = optimizer.init(params)
    # half of the least number above 0 in float16
    updates, after = optimizer.update(jnp.full(2, 1e-3, jnp.float16), state, params)
    np.testing.assert_allclose(updates, 1e-3 / 2**15, 1e-3)
    assert updates.dtype == jnp.float32
    assert after.inner.dtype == jnp.float16


def test_a_scale_inside_another_optimizer():
    inside = optim.chain(
        optim.clip_by_global_norm(1.0), train.dynamic_loss_scale(optim.adam(0.1))
    )
    with pytest.raises(ValueError, match="make_step needs dynamic_loss_scale around"):
        train.make_step(loss, inside)(start(inside), dataset())


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"initial": 0}, ValueError, "a finite initial above 0; got 0.0."),
        ({"initial": float("inf")}, ValueError, "a finite initial above 0; got inf."),
        ({"initial": "1"}, TypeError, "a number for initial; got '1'."),
        ({"growth_interval": 0}, ValueError, "growth_interval of at least 1; got 0."),
        ({"growth_interval": 1.5}, TypeError, "an integer growth_interval; got 1.5."),
        ({"factor": 1}, ValueError, "a finite factor above 1; got 1.0."),
        ({"optimizer": 3}, TypeError, "optimizers, each with init and update; got int."),
    ],
)
def test_bad_scales(arguments, error, message):
    with pytest.raises(error, match=f"^dynamic_loss_scale needs {message}$"):
        train.dynamic_loss_scale(**{"optimizer": optim.sgd(0.1)} | arguments)


def test_the_state_is_kept_by_pickle_and_orbax(tmp_path):
    optimizer = train.dynamic_loss_scale(optim.adam(0.1))
    state = start(optimizer)
    state, _ = jax.jit(train.make_step(loss, optimizer))(state, dataset())
    opt_state = state.opt_state
    again = pickle.loads(pickle.dumps(opt_state))
    assert jax.tree.structure(again) == jax.tree.structure(opt_state)
    assert bits(again) == bits(opt_state)
    ocp = pytest.importorskip("orbax.checkpoint")
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", opt_state)
        checkpointer.wait_until_finished()
        like = jax.tree.map(jnp.zeros_like, opt_state)
        restored = checkpointer.restore(tmp_path / "state", like)
    assert isinstance(restored, train.LossScaled)
    assert bits(restored) == bits(opt_state)
