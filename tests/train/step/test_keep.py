"""What a batch holds that is not to be rounded to 16 bits."""

import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import optim, train
from tests.support.step_runs import KEY

BATCH = {"x": np.ones((2, 3), np.float32), "y": np.float32([1001.0, 7e4]), "n": [257.0]}


def seen_by(keep, dtype="float16"):
    """The batch as the loss is given it."""
    seen = {}

    def loss(params, batch, key):
        seen.update(batch)
        return params["w"].sum().astype(jnp.float32)

    optimizer = optim.sgd(0.1)
    params = {"w": jnp.ones(3, jnp.float32)}
    state = train.TrainState(jnp.int32(0), params, optimizer.init(params), KEY)
    batch = BATCH | {"n": [jnp.asarray(BATCH["n"][0], jnp.float32)]}
    train.make_step(loss, optimizer, compute_dtype=dtype, keep=keep)(state, batch)
    return seen


def test_what_is_kept_is_as_it_was_given():
    seen = seen_by(["y", "n/*"])
    assert seen["x"].dtype == jnp.float16
    np.testing.assert_array_equal(seen["y"], BATCH["y"])
    assert seen["y"].dtype == seen["n"][0].dtype == jnp.float32
    cast = seen_by((), "bfloat16")
    assert cast["n"][0] == 256  # rounded


def test_patterns_of_nothing_are_refused():
    with pytest.raises(
        ValueError, match="keep to match a part of the batch; 'z' matches none"
    ):
        seen_by("z")
    with pytest.raises(TypeError, match="make_step needs keep that are strings; got 1"):
        train.make_step(lambda *a: 0.0, optim.sgd(0.1), keep=[1])


def test_an_overflow_of_the_cast_is_told():
    def loss(params, batch, key):
        y = batch["y"].astype(jnp.float32)
        return params["w"].astype(jnp.float32) * (y / 1e4).sum()

    params, batch = {"w": jnp.float32(1.0)}, {"y": BATCH["y"]}
    where = train.first_nonfinite(loss, params, batch, KEY, compute_dtype="float16")
    assert where == (
        "the batch has 1 of 2 values that are not finite at ['y'], once cast to float16: "
        "`keep` leaves what it names as it is."
    )
    kept = {"compute_dtype": "float16", "keep": "y"}
    assert train.first_nonfinite(loss, params, batch, KEY, **kept) is None
