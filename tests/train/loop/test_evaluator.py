"""An evaluation is the mean over all examples, in batches of one shape."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import train
from tests.support.train_runs import KEY


def per_example(params, batch):
    x, labels = batch
    logits = x @ params["weight"] + params["bias"]
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], -1)
    return {"loss": -picked[:, 0], "accuracy": logits.argmax(-1) == labels}


def dataset(n=50):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 4))
    return x, (x @ rng.standard_normal((4, 3))).argmax(-1)


def params_of(key):
    return {"weight": jax.random.normal(key, (4, 3)), "bias": jnp.zeros(3)}


@pytest.mark.parametrize("batch_size", [1, 7, 10, 49, 50, 1000])
def test_evaluation_is_the_mean_over_all_examples(batch_size):
    data, params = dataset(50), params_of(KEY)
    got = train.evaluator(per_example, data, batch_size)(params)
    want = per_example(params, data)
    assert all(type(value) is float for value in got.values())
    np.testing.assert_allclose(got["loss"], want["loss"].mean(), rtol=1e-14)
    assert got["accuracy"] == float(want["accuracy"].sum()) / 50


def test_evaluation_compiles_once():
    once = chex.assert_max_traces(per_example, n=1)
    evaluate = train.evaluator(once, dataset(50), 7)
    values = [evaluate(params_of(jax.random.key(i)))["loss"] for i in range(3)]
    assert len(set(values)) == 3


def test_evaluation_sums_low_precision_in_float32():
    data = np.full(1000, 1.01, jnp.bfloat16)
    evaluate = train.evaluator(lambda _, x: {"x": x}, data, 999)
    np.testing.assert_allclose(evaluate(None)["x"], float(data[0]), rtol=1e-6)


def test_bad_metrics():
    data = dataset(50)
    with pytest.raises(
        ValueError,
        match=r"^evaluator needs one number per example, shape \(10,\), of each metric; "
        r"got shape \(\) of 'loss'.\n",
    ):
        train.evaluator(lambda *_: {"loss": jnp.ones(())}, data, 10)(None)
    with pytest.raises(
        TypeError, match=r"^evaluator needs metrics that return a dict; got tuple.\n"
    ):
        train.evaluator(lambda *_: (), data, 10)(None)
    with pytest.raises(
        ValueError, match=r"^evaluator needs batch_size of at least 1; got 0.$"
    ):
        train.evaluator(per_example, data, 0)
    with pytest.raises(
        ValueError, match=r"^evaluator needs arrays .* got 3 at \[0\] and 4 at \[1\].$"
    ):
        train.evaluator(per_example, (np.ones(3), np.ones(4)), 1)
