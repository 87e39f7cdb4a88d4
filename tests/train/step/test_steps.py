"""Steps in microbatches, in low precision, with a scaled loss, and several in a call."""

import pickle
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from funcnn import losses, optim, train
from funcnn.layers import Conv, Dense, Dropout, Flatten, Gelu, GlobalAvgPool, Serial

KEY = jax.random.key(0)
MODEL = Serial(Dense(16), Gelu(), Dense(3))
SHAPE = (1, 4)


def loss(params, batch, key):
    del key
    x, labels = batch
    logits = MODEL.apply(params, x)
    hits = (logits.argmax(-1) == labels).mean()
    return losses.softmax_cross_entropy(logits, labels), {"accuracy": hits}


def dataset(n=64, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 4))
    return x.astype(dtype), (x @ rng.standard_normal((4, 3))).argmax(-1)


def start(optimizer, dtype=jnp.float32):
    return train.init(KEY, MODEL, optimizer, jax.ShapeDtypeStruct(SHAPE, dtype))


def bits(tree):
    """Arrays as what they are in memory, so that -0.0 is not 0.0 and NaN is itself."""
    leaves = jax.tree.leaves(tree)
    return [(np.asarray(a).dtype, np.asarray(a).tobytes()) for a in leaves]


def assert_close(got, want, rtol):
    jax.tree.map(lambda g, w: np.testing.assert_allclose(g, w, rtol, 0), got, want)


# Microbatches


@pytest.mark.parametrize("dtype, rtol", [(jnp.float64, 1e-12), (jnp.float32, 1e-6)])
@pytest.mark.parametrize("n", [2, 8, 64])
def test_microbatches_have_the_gradient_of_the_batch(n, dtype, rtol):
    def gradient(**arguments):
        seen = []

        def update(grads, state, params):
            seen.append(grads)
            return jax.tree.map(jnp.zeros_like, grads), state

        optimizer = optim.Optimizer(lambda _: (), update)
        step = train.make_step(loss, optimizer, **arguments)
        _, metrics = step(start(optimizer, dtype), dataset(dtype=dtype))
        return seen[0], metrics

    (want, whole), (got, parts) = gradient(), gradient(microbatches=n)
    scale = max(float(jnp.abs(a).max()) for a in jax.tree.leaves(want))
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert g.dtype == w.dtype == dtype
        np.testing.assert_allclose(g, w, rtol, rtol * scale)
    assert sorted(parts) == ["accuracy", "grad_norm", "loss"]
    assert_close(parts, whole, rtol)


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

    _, metrics = train.make_step(second_half_weighs, optimizer, microbatches=4)(
        state, batch
    )
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
    _, metrics = step(state, batch)
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


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"microbatches": 0}, ValueError, "microbatches of at least 1; got 0."),
        ({"microbatches": 2.0}, TypeError, "an integer microbatches; got 2.0."),
        ({"compute_dtype": "int8"}, TypeError, "a compute_dtype that is floating-point"),
        ({"compute_dtype": "tiny"}, TypeError, "a compute_dtype that is .*; got 'tiny'."),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=f"^make_step needs {message}"):
        train.make_step(loss, optim.sgd(0.1), **arguments)


# Low precision


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("dtype", ["bfloat16", jnp.float16])
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
    exact, _ = train.make_step(loss, optimizer)(state, dataset())
    np.testing.assert_allclose(after.params[0]["weight"], exact.params[0]["weight"], 0.1)


def learned(batches=100, **arguments):
    """Accuracy and loss after training, on other examples."""
    optimizer = arguments.pop("optimizer", optim.adam(0.02))
    step = jax.jit(train.scan_steps(train.make_step(loss, optimizer, **arguments)))
    x, labels = dataset(64 * batches)
    batches = x.reshape(batches, 64, 4), labels.reshape(batches, 64)
    state, metrics = step(start(optimizer), batches)
    return state, float(metrics["loss"][-10:].mean()), metrics


def test_low_precision_learns_as_float32_does():
    scaled = train.dynamic_loss_scale(optim.adam(0.02), growth_interval=20)
    _, exact, _ = learned()
    _, bfloat16, _ = learned(compute_dtype="bfloat16")
    state, float16, _ = learned(compute_dtype="float16", optimizer=scaled)
    assert exact < 0.25
    assert bfloat16 == pytest.approx(exact, abs=0.02)
    assert float16 == pytest.approx(exact, abs=0.02)
    assert 0 < state.opt_state.skipped < 50  # its scale went up to where it overflows


# A scaled loss


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("inner", [optim.adam(0.02), optax.sgd(0.1)])
def test_a_scale_changes_nothing_else(inner, n):
    state, _, metrics = learned(20, optimizer=inner, microbatches=n)
    scaled = train.dynamic_loss_scale(inner, 2.0**10, growth_interval=8)
    with_scale, _, same = learned(20, optimizer=scaled, microbatches=n)
    assert_close(with_scale.params, state.params, 1e-4)
    assert_close(same, metrics, 1e-5)
    got = with_scale.opt_state
    assert (got.scale, got.good_steps, got.skipped) == (2.0**12, 4, 0)


@pytest.mark.parametrize("n", [1, 4])
def test_an_overflow_skips_the_step_and_recovers(n):
    def planted(params, batch, key):
        # a gradient of 4: times the scale it is out of range of float16
        factor = jnp.where(batch[2].any(), 4.0, 0.0).astype(jnp.float16)
        value, metrics = loss(params, batch[:2], key)
        extra = factor * params[2]["bias"].sum()
        return value + extra.astype(value.dtype), metrics

    optimizer = train.dynamic_loss_scale(optim.adam(0.02), 2.0**15, growth_interval=3)
    step = train.make_step(planted, optimizer, microbatches=n, compute_dtype="float16")
    state = start(optimizer)
    state.params[2]["bias"] = state.params[2]["bias"].at[0].set(-0.0)
    x, labels = dataset()
    flags = np.zeros((8, 64), bool)
    flags[2] = True
    batches = np.stack([x] * 8), np.stack([labels] * 8), flags
    states, run = [state], jax.jit(step)
    for k in range(8):
        states.append(run(states[-1], jax.tree.map(lambda a, k=k: a[k], batches))[0])
    at_once, _ = jax.jit(train.scan_steps(step))(state, batches)
    assert_close(at_once.params, states[8].params, 0.01)
    assert bits(at_once.opt_state[:3]) == bits(states[8].opt_state[:3])
    scales = [float(s.opt_state.scale) for s in states]
    assert scales == [2.0**15] * 3 + [2.0**14] * 3 + [2.0**15] * 3
    assert [int(s.opt_state.skipped) for s in states] == [0] * 3 + [1] * 6
    assert [int(s.step) for s in states] == list(range(9))
    before, after = states[2:4]
    assert bits(after.params) == bits(before.params)
    assert bits(after.opt_state.inner) == bits(before.opt_state.inner)
    assert bits(states[4].params) != bits(after.params)
    value = [float(loss(s.params, (x, labels), KEY)[0]) for s in states]
    assert value[8] < value[3] < value[0]


def test_a_skipped_update_keeps_the_sign_of_zero():
    optimizer = train.dynamic_loss_scale(optim.sgd(0.1))
    params = {"a": jnp.array([-0.0, 0.0, 1.0])}
    state = optimizer.init(params)
    updates, state = optimizer.update({"a": jnp.array([jnp.nan, 0, 0])}, state, params)
    after = jax.jit(optim.apply_updates)(params, updates)
    assert bits(after) == bits(params)
    assert (state.scale, state.skipped) == (2.0**14, 1)


def test_metrics_show_the_loss_without_scale():
    plain, scaled = optim.sgd(0.1), train.dynamic_loss_scale(optim.sgd(0.1), 2.0**100)
    _, want = train.make_step(loss, plain)(start(plain), dataset())
    _, got = train.make_step(loss, scaled)(start(scaled), dataset())
    assert_close(got, want, 1e-6)  # squares of scaled gradients would be inf


def test_the_scale_stays_finite_and_above_zero():
    optimizer = train.dynamic_loss_scale(optim.sgd(0.1), growth_interval=1, factor=2.0**60)
    params = jnp.ones(2, jnp.float32)
    for grads, limit in (
        (jnp.full(2, jnp.inf, jnp.float32), np.finfo(np.float32).tiny),
        (jnp.zeros(2, jnp.float32), np.finfo(np.float32).max),
    ):
        state = optimizer.init(params)
        for _ in range(5):
            _, state = optimizer.update(grads, state, params)
        assert state.scale == limit


def test_low_precision_params_get_gradients_in_float32():
    def update(grads, state, params=None):
        return grads, grads

    inner = optim.Optimizer(jnp.zeros_like, update)
    optimizer = train.dynamic_loss_scale(inner, 2.0**15)
    params = jnp.ones(2, jnp.float16)
    state = optimizer.init(params)
    # half of the least number above 0 in float16
    updates, after = optimizer.update(jnp.full(2, 1e-3, jnp.float16), state, params)
    np.testing.assert_allclose(updates, 1e-3 / 2**15, 1e-3)
    assert updates.dtype == jnp.float32
    assert after.inner.dtype == jnp.float16


def test_a_scale_inside_another_optimizer():
    inside = optim.chain(
        optim.clip_by_global_norm(1.0), train.dynamic_loss_scale(optim.adam(0.1))
    )
    with pytest.raises(ValueError, match="make_step needs dynamic_loss_scale around"):
        train.make_step(loss, inside)(start(inside), dataset())


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"initial": 0}, ValueError, "a finite initial above 0; got 0.0."),
        ({"initial": float("inf")}, ValueError, "a finite initial above 0; got inf."),
        ({"initial": "1"}, TypeError, "a number for initial; got '1'."),
        ({"growth_interval": 0}, ValueError, "growth_interval of at least 1; got 0."),
        ({"growth_interval": 1.5}, TypeError, "an integer growth_interval; got 1.5."),
        ({"factor": 1}, ValueError, "a finite factor above 1; got 1.0."),
        ({"optimizer": 3}, TypeError, "optimizers, each with init and update; got int."),
    ],
)
def test_bad_scales(arguments, error, message):
    with pytest.raises(error, match=f"^dynamic_loss_scale needs {message}$"):
        train.dynamic_loss_scale(**{"optimizer": optim.sgd(0.1)} | arguments)


def test_the_state_is_kept_by_pickle_and_orbax(tmp_path):
    optimizer = train.dynamic_loss_scale(optim.adam(0.1))
    state = start(optimizer)
    state, _ = train.make_step(loss, optimizer)(state, dataset())
    opt_state = state.opt_state
    again = pickle.loads(pickle.dumps(opt_state))
    assert jax.tree.structure(again) == jax.tree.structure(opt_state)
    assert bits(again) == bits(opt_state)
    ocp = pytest.importorskip("orbax.checkpoint")
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", opt_state)
        checkpointer.wait_until_finished()
        like = jax.tree.map(jnp.zeros_like, opt_state)
        restored = checkpointer.restore(tmp_path / "state", like)
    assert isinstance(restored, train.LossScaled)
    assert bits(restored) == bits(opt_state)


# Several in a call


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
    rows = []
    for i in range(5):
        state, row = step(state, (batches[0][i], batches[1][i]))
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
