"""Runs that would go on without a word: nothing is learned, or nobody told why."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import losses, optim, train
from funcnn.layers import Dense, Lambda, Serial
from tests.support.step_runs import KEY, dataset, loss, start

ROOT = Serial(first=Dense(3), root=Lambda(lambda x: jnp.sqrt(0 * x)))  # slope: 0 * inf


def nan_gradient(params, batch, key):
    x, labels = batch
    return losses.softmax_cross_entropy(ROOT.apply(params, x), labels)


def test_a_gradient_that_no_scale_makes_finite_ends_the_run():
    optimizer = train.dynamic_loss_scale(optim.sgd(0.1))
    state = train.init(KEY, ROOT, optimizer, jax.ShapeDtypeStruct((1, 4), jnp.float32))
    step = train.make_step(nan_gradient, optimizer)
    data = train.batches(dataset(), 16, key=KEY)
    with pytest.raises(train.NonFiniteError) as caught:
        train.fit(step, state, data, steps=200, progress=False)
    text = str(caught.value)
    assert text.startswith("fit left out the last 50 updates, to step 50: their gradients")
    assert (
        "at any loss scale, down to 3e-11: the backward pass of layer 'root' gave" in text
    )
    assert int(caught.value.state.opt_state.row) == 50
    np.testing.assert_array_equal(
        caught.value.state.params["first"]["weight"], state.params["first"]["weight"]
    )


def test_a_shorter_interval_after_a_resume_lets_the_scale_grow():
    def grown(interval, state):
        optimizer = train.dynamic_loss_scale(optim.sgd(0.1), 4.0, interval)
        state = optimizer.init({"w": jnp.ones(2)}) if state is None else state
        for _ in range(5):
            _, state = optimizer.update({"w": jnp.ones(2)}, state)
        return state

    state = grown(100, None)
    assert (state.scale, state.good_steps) == (4, 5)
    state = grown(2, state)
    assert state.scale == 4 * 2**3  # at once, and after two and four more


def broken(params, batch, key):
    value, metrics = loss(params, batch, key)
    return value * jnp.log(params[0]["bias"].sum() * 0), metrics


def around(step):
    def more(state, batch):
        state, metrics = step(state, batch)
        return state, {**metrics, "one": jnp.float32(1.0)}

    return more


def hidden(step):
    return around({"step": step}["step"].__call__)


@pytest.mark.parametrize(
    "wrap", [around, lambda step: functools.wraps(step)(hidden(step)), functools.partial]
)
def test_a_step_in_another_function_still_tells_what_went_wrong(wrap):
    step = wrap(train.make_step(broken, optim.sgd(0.1)))
    with pytest.raises(train.NonFiniteError, match=r"the loss is (nan|-inf)"):
        train.fit(step, start(optim.sgd(0.1)), [dataset()], progress=False)


def test_a_step_that_hides_its_own_says_what_it_lacks():
    step = hidden(train.make_step(broken, optim.sgd(0.1)))
    with pytest.raises(
        train.NonFiniteError, match=r"cannot tell the layer: .* functools\.wraps"
    ):
        train.fit(step, start(optim.sgd(0.1)), [dataset()], progress=False)


def test_a_last_batch_may_be_short_with_several_steps_a_call():
    optimizer = optim.sgd(0.1)
    step, (x, labels) = train.make_step(loss, optimizer), dataset(20)
    data = [(x[:8], labels[:8]), (x[8:16], labels[8:16])] * 2
    short = [(x[:8], labels[:8]), (x[16:], labels[16:])]
    at_once = train.fit(
        step, start(optimizer), data + short, progress=False, steps_per_call=2
    )
    one_by_one = train.fit(step, start(optimizer), data + short, progress=False)
    assert int(at_once[0].step) == int(one_by_one[0].step) == 6
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, 1e-5),
        at_once[0].params,
        one_by_one[0].params,
    )
