"""What a step tells its optimizer, and what the optimizer tells of its learning rate."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from funcnn import optim, train
from tests.support.step_runs import KEY, dataset, learned, loss, start
from tests.support.train_runs import as_a_user_has_it


def told(optimizer, steps=3, **arguments):
    """The learning rates that a step logs."""
    step, state, rates = train.make_step(loss, optimizer, **arguments), start(optimizer), []
    step = jax.jit(step)
    for _ in range(steps):
        state, metrics = step(state, dataset())
        rates.append(float(metrics["learning_rate"]))
    return rates


def schedule(step):
    return 0.5 ** jnp.asarray(step, jnp.float32)


HALVED = [1.0, 0.5, 0.25]


@pytest.mark.parametrize(
    "optimizer",
    [
        optim.adam(schedule),
        optim.chain(optim.clip_by_global_norm(1.0), optim.sgd(schedule)),
        optim.chain(optim.scale_by_adam(), optim.scale_by_learning_rate(schedule)),
        optim.inject(optim.sgd, learning_rate=schedule),
        optax.inject_hyperparams(optax.sgd)(schedule),
        optim.apply_if_finite(optim.per_layer(optim.muon(schedule), "*/weight"), 2),
        train.dynamic_loss_scale(optim.sgd(schedule)),
    ],
)
def test_the_learning_rate_is_that_of_the_update(optimizer):
    np.testing.assert_allclose(told(optimizer), HALVED, 1e-6)


def test_rates_that_are_not_known_and_those_of_the_loss():
    optimizer = optax.sgd(0.1)
    _, metrics = train.make_step(loss, optimizer)(start(optimizer), dataset())
    assert "learning_rate" not in metrics

    def own(*arguments):
        return loss(*arguments)[0], {"learning_rate": jnp.float32(7.0)}

    _, metrics = train.make_step(own, optim.sgd(0.1))(start(optim.sgd(0.1)), dataset())
    assert metrics["learning_rate"] == 7


def test_accumulated_updates_have_the_rate_of_the_next_one():
    assert told(optim.accumulate(optim.sgd(schedule), 2), 4) == [1.0, 1.0, 0.5, 0.5]


@pytest.mark.parametrize("n", [pytest.param(1, marks=pytest.mark.exhaustive), 4])
def test_optimizers_that_search_along_a_line_learn(n):
    """Among them optax's, which takes value, gradient and the loss as a function."""
    with as_a_user_has_it():  # optax promotes
        _, value, _ = learned(10, optimizer=optax.lbfgs(), microbatches=n)
        _, plain, _ = learned(10, optimizer=optax.sgd(0.1), microbatches=n)
    assert value < plain / 2


def test_a_plateau_and_a_curvature_are_seen():
    with as_a_user_has_it():
        plateau = optax.contrib.reduce_on_plateau(factor=0.5, patience=1, rtol=1.0)
        state, _, _ = learned(9, optimizer=optim.chain(optim.sgd(1e-6), plateau))
    assert state.opt_state[1].scale < 0.1
    _, value, _ = learned(60, optimizer=optim.sophia(0.05, optim.hutchinson(KEY), every=2))
    assert value < 0.5


def test_what_is_given_is_of_the_loss_without_its_scale():
    seen = {}

    def update(grads, state, params=None, *, value, grad, value_fn):
        seen.update(value=value, grad=grad, again=value_fn(params), scaled=grads)
        return jax.tree.map(jnp.zeros_like, grads), state

    inner = optim.Optimizer(lambda params: (), update)
    optimizer = train.dynamic_loss_scale(inner, 4.0)
    state, batch = start(optimizer), dataset()
    step = train.make_step(loss, optimizer, microbatches=2)
    with jax.disable_jit():
        step(state, batch)
    value, grad = jax.value_and_grad(lambda p: loss(p, batch, KEY)[0])(state.params)
    np.testing.assert_allclose([seen["value"], seen["again"]], value, 1e-5)
    for a, b in zip(jax.tree.leaves(seen["grad"]), jax.tree.leaves(grad), strict=True):
        np.testing.assert_allclose(a, b, 1e-4, 1e-6)
