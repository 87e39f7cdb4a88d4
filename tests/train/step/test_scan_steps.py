"""Several steps in one call are the loop of them."""

import re

import jax
import numpy as np
import pytest

from funcnn import losses, optim, train
from funcnn.layers import Dense, Dropout, Flatten, Serial
from tests.support.step_runs import KEY, SHAPE, assert_close, dataset, loss, start


def test_scan_steps_is_the_loop():
    model = Serial(Flatten(), Dropout(0.5), Dense(3))
    optimizer = optim.adam(0.1)

    def noisy(params, batch, key):
        return losses.softmax_cross_entropy(
            model.apply(params, batch[0], key=key), batch[1]
        )

    step = train.make_step(noisy, optimizer)
    state = train.init(KEY, model, optimizer, SHAPE)
    x, labels = dataset(5 * 8)
    batches = x.reshape(5, 8, 4), labels.reshape(5, 8)
    steps = jax.jit(train.scan_steps(step))
    got, metrics = steps(state, batches)
    steps(got, batches)
    assert steps._cache_size() == 1
    rows, one = [], jax.jit(step)
    for i in range(5):
        state, row = one(state, (batches[0][i], batches[1][i]))
        rows.append(row)
    assert got.step == 5
    assert_close(got.params, state.params, 1e-6)
    for name in ("loss", "grad_norm"):
        assert metrics[name].shape == (5,)
        np.testing.assert_allclose(metrics[name], [row[name] for row in rows], 1e-6)


@pytest.mark.parametrize(
    "batches, message",
    [
        (None, "scan_steps needs arrays of batches; got None."),
        (
            (np.ones((3, 2)), np.ones((4, 2))),
            "scan_steps needs arrays with a first axis of as many steps each; got shape "
            "(3, 2) at [0] and (4, 2) at [1].",
        ),
        (1.0, "got shape () at the root and () at the root."),
    ],
)
def test_bad_batches_of_several_steps(batches, message):
    step = train.make_step(loss, optim.sgd(0.1))
    with pytest.raises(ValueError, match=re.escape(message)):
        train.scan_steps(step)(start(optim.sgd(0.1)), batches)
