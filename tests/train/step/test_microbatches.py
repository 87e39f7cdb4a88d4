"""A batch in parts has the gradient of the whole, and takes less memory."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import losses, optim, train
from funcnn.layers import Conv, Dense, Gelu, GlobalAvgPool, Serial
from tests.support.step_runs import KEY, assert_close, dataset, loss, start


@pytest.mark.parametrize("dtype, rtol", [(jnp.float64, 1e-12), (jnp.float32, 1e-6)])
def test_microbatches_have_the_gradient_of_the_batch(dtype, rtol):
    """Whole, and in 2, 8 and 64 parts, in one program."""
    keeping = optim.Optimizer(  # its state is the gradient
        lambda params: jax.tree.map(jnp.zeros_like, params),
        lambda grads, state, params: (jax.tree.map(jnp.zeros_like, grads), grads),
    )
    steps = {n: train.make_step(loss, keeping, microbatches=n) for n in (1, 2, 8, 64)}
    state, batch = start(keeping, dtype), dataset(dtype=dtype)
    found = jax.jit(lambda s, b: {n: step(s, b) for n, step in steps.items()})(state, batch)
    whole, metrics = found.pop(1)
    want = jax.tree.leaves(whole.opt_state)
    scale = max(float(jnp.abs(a).max()) for a in want)
    for after, parts in found.values():
        for g, w in zip(jax.tree.leaves(after.opt_state), want, strict=True):
            assert g.dtype == w.dtype == dtype
            np.testing.assert_allclose(g, w, rtol, rtol * scale)
        assert sorted(parts) == ["accuracy", "grad_norm", "loss"]
        assert_close(parts, metrics, rtol)


def test_microbatches_hold_less_memory():
    model = Serial(Conv(16, 3), Gelu(), Conv(16, 3), Gelu(), GlobalAvgPool(), Dense(3))
    optimizer = optim.sgd(0.1)
    shape = (64, 16, 16, 3)

    def of_images(params, batch, key):
        logits = model.apply(params, batch[0], key=key)
        return losses.softmax_cross_entropy(logits, batch[1])

    def temporary(n):
        step = train.make_step(of_images, optimizer, microbatches=n)
        state = jax.eval_shape(lambda: train.init(KEY, model, optimizer, shape))
        batch = (
            jax.ShapeDtypeStruct(shape, jnp.float32),
            jax.ShapeDtypeStruct(shape[:1], jnp.int32),
        )
        compiled = jax.jit(step, donate_argnums=0).lower(state, batch).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary(8) <= temporary(1) / 6


def test_each_microbatch_has_its_key_and_its_examples():
    def record(params, batch, key):
        drawn = jax.random.uniform(key, dtype=jnp.float32)
        number = batch["x"].astype(jnp.float32).mean()
        metrics = {"draw": drawn, "number": number, "many": jnp.int32(3)}
        return params.sum() * number, metrics

    optimizer = optim.sgd(0.0)
    state = train.TrainState(jnp.int32(5), jnp.ones(2, jnp.float32), (), KEY)
    state = state._replace(opt_state=optimizer.init(state.params))
    batch = {"x": np.arange(8, dtype=np.int32), "key": jax.random.split(KEY, 8)}
    step = jax.jit(train.make_step(record, optimizer, microbatches=4))
    _, metrics = step(state, batch)
    own = jax.random.fold_in(KEY, 5)
    draws = [
        jax.random.uniform(jax.random.fold_in(own, i), dtype=jnp.float32) for i in range(4)
    ]
    np.testing.assert_allclose(metrics["draw"], np.mean(draws), 1e-6)
    assert metrics["number"] == 3.5
    assert (metrics["many"], metrics["many"].dtype) == (3, jnp.float32)
    assert metrics["loss"] == 7

    def second_half_weighs(params, batch, key):
        # of parts (0, 4), (1, 5), (2, 6), (3, 7) each has one number from 4 on
        big = (batch["x"] >= 4).mean(dtype=jnp.float32)
        return params.sum() * 0, {"least": big, "part": batch["x"][0] % 4 == 0}

    step = jax.jit(train.make_step(second_half_weighs, optimizer, microbatches=4))
    _, metrics = step(state, batch)
    assert metrics["least"] == 0.5
    assert metrics["part"] == 0.25


def test_microbatches_sum_in_float32():
    # in bfloat16, 256 + 1 is 256
    def counts(params, batch, key):
        return (params * batch).sum(), {"ones": batch.sum()}

    step = train.make_step(counts, optim.sgd(1.0), microbatches=512)
    params = jnp.zeros((), jnp.bfloat16)
    state = train.TrainState(jnp.int32(0), params, optim.sgd(1.0).init(params), KEY)
    batch = jnp.where(jnp.arange(512) < 258, 1, 0).astype(jnp.bfloat16)
    _, metrics = jax.jit(step)(state, batch)
    assert metrics["ones"] == 258 / 512
    assert metrics["ones"].dtype == metrics["loss"].dtype == jnp.float32
    # rounded to bfloat16 once, at the end
    assert metrics["grad_norm"] == float(jnp.bfloat16(258 / 512))


@pytest.mark.parametrize(
    "batch, message",
    [
        (
            {"x": np.ones((10, 2)), "y": np.ones(8)},
            "make_step needs arrays with a first axis that 4 microbatches divide; got "
            "shape (10, 2) at ['x'] of the batch.",
        ),
        (
            (np.ones(8), 1.0),
            "make_step needs arrays with a first axis that 4 microbatches divide; got "
            "shape () at [1] of the batch.",
        ),
        (np.ones(2), "got shape (2,) at the root of the batch."),
        (None, "make_step needs a batch of arrays for 4 microbatches; got None."),
    ],
)
def test_batches_that_cannot_be_cut(batch, message):
    optimizer = optim.sgd(0.1)
    step = train.make_step(lambda *_: jnp.ones(()), optimizer, microbatches=4)
    with pytest.raises(ValueError, match=re.escape(message)):
        step(start(optimizer), batch)
