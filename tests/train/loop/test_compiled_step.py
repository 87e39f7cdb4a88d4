"""Several steps in a call, and steps on a mesh, are the steps one by one."""

import jax
import numpy as np
import pytest

from funcnn import train
from tests.support.train_runs import STEP, assert_same, data, measure, start


@pytest.mark.parametrize("steps", [12, 11])
def test_several_steps_a_call(steps):
    options = {"steps": steps, "evaluate": measure, "eval_every": 8}
    want, before = train.fit(STEP, start(), data(), **options)
    got, history = train.fit(STEP, start(), data(), steps_per_call=4, **options)
    assert_same(got.params, want.params, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(history.step, before.step)
    np.testing.assert_array_equal(history.eval_step, before.eval_step)
    np.testing.assert_allclose(history.metrics["loss"], before.metrics["loss"], rtol=1e-5)


def test_a_layout(tmp_path):
    state = start()
    layout = train.shard(state, jax.make_mesh((1,), ("data",)))
    want, _ = train.fit(STEP, state, data(), steps=7)
    with train.Checkpoints(tmp_path) as checkpoints:
        train.fit(STEP, state, data(), steps=4, checkpoints=checkpoints, layout=layout)
        got, _ = train.fit(
            STEP, state, data(), steps=7, checkpoints=checkpoints, layout=layout
        )
    assert got.params["head"]["weight"].sharding.mesh.axis_names == ("data",)
    assert_same(got.params, want.params, rtol=1e-5)
