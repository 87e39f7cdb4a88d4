"""The first step with numbers that are not finite is found, and said to be it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import layers, optim, train
from tests.support.train_runs import MODEL, STEP, assert_same, data, loss, start


def planted(at):
    for i, (x, labels) in enumerate(data()):
        yield (np.where(i == at, np.float32(np.inf), x), labels)


def test_the_guard_names_the_step_and_what_is_not_finite(tmp_path):
    want, _ = train.fit(STEP, start(), data(), steps=37)
    with train.Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(train.NonFiniteError, match=r"in step 38: .*batch") as raised:
            train.fit(
                STEP, start(), planted(37), steps=60, log_every=3,
                checkpoints=checkpoints, checkpoint_every=10,
            )  # fmt: skip
        assert checkpoints.latest() == 30
    assert_same(raised.value.state, want)


def test_the_guard_names_the_layer():
    def overflowing(params, batch, key):
        x, _ = batch
        y = layers.Serial(up=layers.Lambda(lambda x: jnp.exp(200 * x))).apply({"up": {}}, x)
        return params["head"]["bias"].sum() + y.mean()

    step = train.make_step(overflowing, optim.sgd(0.1))
    with pytest.raises(train.NonFiniteError, match="'Serial/up'"):
        train.fit(step, start(optim.sgd(0.1)), data(), steps=5)


def test_the_guard_lets_updates_be_skipped():
    def overflowing(params, batch, key):
        return loss(params, batch, key) * 1e30

    optimizer = train.dynamic_loss_scale(optim.sgd(1e-30), initial=2.0**40)
    step = train.make_step(overflowing, optimizer)
    state, history = train.fit(step, start(optimizer), data(), steps=6)
    assert state.opt_state.skipped >= 1
    assert not np.isfinite(history.metrics["grad_norm"]).all()


def test_params_gone_bad_in_the_last_step_are_found():
    def update(grads, state, params=None):
        nan = jnp.where(state == 3, jnp.nan, 0.0)
        return jax.tree.map(lambda g: g * 0 + nan.astype(g.dtype), grads), state + 1

    optimizer = optim.Optimizer(lambda params: jnp.zeros((), jnp.int32), update)
    state = train.init(jax.random.key(0), MODEL, optimizer, (1, 4))
    step = train.make_step(lambda p, *_: (p["head"]["bias"] ** 2).sum(), optimizer)
    with pytest.raises(train.NonFiniteError, match="params that are not finite in step 4"):
        train.fit(step, state, data(), steps=4)
    bad, _ = train.fit(step, state, data(), steps=4, guard=False)
    with pytest.raises(train.NonFiniteError, match="params that are finite to start"):
        train.fit(step, bad, data(), steps=4)
