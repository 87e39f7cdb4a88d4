"""Transformations against their formulas, on numbers that can be told."""

import jax
import jax.numpy as jnp
import numpy as np

from funcnn import optim
from tests.support.optim_runs import PARAMS, Block, assert_close, grads_at

KEY = jax.random.key(0)


def test_ema_params_is_the_mean_of_what_params_become():
    optimizer = optim.chain(optim.sgd(0.1), optim.ema_params(0.9))
    params, state = PARAMS, optimizer.init(PARAMS)
    mean = PARAMS
    for _ in range(3):
        updates, state = optimizer.update(grads_at(0), state, params)
        params = optim.apply_updates(params, updates)
        mean = jax.tree.map(lambda m, w: 0.9 * m + 0.1 * w, mean, params)
    assert_close(state[1].mean, mean)


def test_the_mean_of_bfloat16_params_is_float32():
    optimizer, w = optim.ema_params(0.999), jnp.ones(3, jnp.bfloat16)
    state = optimizer.init(w)
    for _ in range(10):
        _, state = optimizer.update(w, state, w)
    assert state.mean.dtype == jnp.float32
    np.testing.assert_allclose(state.mean, 1 + (1 - 0.999**10), rtol=1e-6)


def test_noise_has_the_variance_it_says():
    w, optimizer = jnp.zeros(100_000), optim.add_noise(0.5, 0.55, KEY)
    state = optimizer.init(w)
    for t in (1, 2, 3):
        noise, state = optimizer.update(w, state)
        np.testing.assert_allclose(noise.var(), 0.5 / t**0.55, rtol=0.03)
        assert abs(noise.mean()) < 0.01


def test_adaptive_clipping_is_by_output():
    w = jnp.asarray([[3.0, 0.0], [4.0, 0.0]])
    g = jnp.asarray([[30.0, 30.0], [40.0, 40.0]])
    updates, _ = optim.adaptive_grad_clip(0.1, 0.01).update(g, (), w)
    np.testing.assert_allclose(updates[:, 0], [0.3, 0.4])  # a norm of 0.1 * 5
    np.testing.assert_allclose(updates[:, 1], [0.0006, 0.0008])  # a norm of 0.1 * 0.01


def test_frozen_leaves_need_no_state():
    optimizers = {"train": optim.adam(0.1), "frozen": optim.freeze(True)}
    where = {"stem": "frozen", "body": "train", "head": "train"}
    optimizer = optim.partition(optimizers, where)
    state = optimizer.init(PARAMS)
    assert state.inner["train"].mu["stem"] == Block(None, None)
    updates, _ = optimizer.update(grads_at(0), state)
    assert not any(jnp.any(a) for a in jax.tree.leaves(updates["stem"]))
    assert all(jnp.all(a) for a in jax.tree.leaves(updates["body"]))


def test_hutchinson_is_the_diagonal_of_a_diagonal():
    scales = jnp.asarray([1.0, 2.0, 30.0])

    def loss(w):
        return jnp.sum(scales * w["w"] ** 2) / 2

    params = {"w": jnp.ones(3), "none": None}
    estimator = optim.hutchinson(KEY)
    state = estimator.init(params)
    found, after = estimator.update(params, state, params, loss=loss)
    np.testing.assert_allclose(found["w"], scales)
    assert not np.array_equal(state.key, after.key)


def test_hutchinson_has_the_diagonal_as_mean():
    half = jax.random.normal(KEY, (4, 4))
    hessian = half @ half.T
    estimator = optim.hutchinson(KEY)

    def body(state, _):
        w = jnp.zeros(4)
        found, state = estimator.update(w, state, w, loss=lambda w: w @ hessian @ w / 2)
        return state, found

    _, found = jax.lax.scan(body, estimator.init(None), None, 4000)
    error = found.std(0) / 4000**0.5
    assert (abs(found.mean(0) - jnp.diag(hessian)) < 5 * error).all()
