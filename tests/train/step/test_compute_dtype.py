"""A loss in low precision, with params and moments in their own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import optim, train
from tests.support.step_runs import dataset, learned, loss, start


@functools.cache
def after_one_exact_step():
    optimizer = optim.adam(0.1)
    return jax.jit(train.make_step(loss, optimizer))(start(optimizer), dataset())[0]


@pytest.mark.parametrize(
    "dtype, n",
    [
        ("bfloat16", 4),
        (jnp.float16, 1),
        pytest.param("bfloat16", 1, marks=pytest.mark.exhaustive),
        pytest.param(jnp.float16, 4, marks=pytest.mark.exhaustive),
    ],
)
def test_compute_dtype_is_that_of_the_loss_alone(dtype, n):
    seen = []

    def recorded(params, batch, key):
        floats = [*jax.tree.leaves(params), batch[0]]
        seen.append({a.dtype for a in floats} | {batch[1].dtype})
        value, metrics = loss(params, batch, key)
        return value.astype(dtype), metrics | {"low": batch[0].mean()}

    optimizer = optim.adam(0.1)
    step = train.make_step(recorded, optimizer, compute_dtype=dtype, microbatches=n)
    state = start(optimizer)
    after, metrics = jax.jit(step)(state, dataset())
    assert set().union(*seen) == {jnp.dtype(dtype), jnp.dtype("int64")}
    types = [(a.shape, a.dtype) for a in jax.tree.leaves(state)]
    assert [(a.shape, a.dtype) for a in jax.tree.leaves(after)] == types
    assert metrics["loss"].dtype == metrics["grad_norm"].dtype == jnp.float32
    exact = after_one_exact_step()
    np.testing.assert_allclose(after.params[0]["weight"], exact.params[0]["weight"], 0.1)


def test_low_precision_learns_as_float32_does():
    scaled = train.dynamic_loss_scale(optim.adam(0.02), growth_interval=20)
    _, exact, _ = learned()
    _, bfloat16, _ = learned(compute_dtype="bfloat16")
    state, float16, _ = learned(compute_dtype="float16", optimizer=scaled)
    assert exact < 0.25
    assert bfloat16 == pytest.approx(exact, abs=0.02)
    assert float16 == pytest.approx(exact, abs=0.02)
    assert 0 < state.opt_state.skipped < 50  # its scale went up to where it overflows
