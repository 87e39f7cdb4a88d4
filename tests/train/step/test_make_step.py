"""A step is gradient, update, apply: pure, compiled once, with a key of its own."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from funcnn import optim, train
from funcnn.layers.protocol._layer import Layer

KEY = jax.random.key(0)


def linear(features=3):
    def init(key, shape):
        weight = jax.random.normal(key, (shape[-1], features))
        return {"weight": weight, "bias": jnp.zeros(features)}

    def apply(params, x, *, key=None):
        x = x if key is None else x * jax.random.bernoulli(key, 0.9, x.shape).astype(x)
        return x @ params["weight"] + params["bias"]

    return Layer(init, apply)


MODEL = linear()


def per_example(params, batch):
    x, labels = batch
    logits = MODEL.apply(params, x)
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], -1)
    return {"loss": -picked[:, 0], "accuracy": logits.argmax(-1) == labels}


def loss(params, batch, key):
    del key
    values = per_example(params, batch)
    return values["loss"].mean(), {"accuracy": values["accuracy"].mean()}


def dataset(n=50, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 4))
    return x, (x @ rng.standard_normal((4, 3))).argmax(-1)


def start(optimizer=None, key=KEY):
    return train.init(key, MODEL, optimizer or optim.adam(0.1), (1, 4))


def copies(tree):
    return jax.tree.map(
        lambda a: np.asarray(
            jax.random.key_data(a) if jnp.issubdtype(a.dtype, jax.dtypes.prng_key) else a
        ),
        tree,
    )


def assert_trees_equal(got, want, **tolerance):
    got, want = copies(got), copies(want)
    jax.tree.map(
        lambda g, w: np.testing.assert_allclose(g, w, **tolerance or {"rtol": 0}),
        got,
        want,
    )


def test_init():
    optimizer = optim.adam(0.1)
    state = train.init(KEY, MODEL, optimizer, (1, 4))
    params_key, run_key = jax.random.split(KEY)
    assert state.step == 0
    assert state.step.dtype == jnp.int32
    assert state.key == run_key
    assert_trees_equal(state.params, MODEL.init(params_key, (1, 4)))
    assert_trees_equal(state.opt_state, optimizer.init(state.params))


@pytest.mark.parametrize(
    "optimizer, same",
    [(optim.sgd(0.1, 0.9), optax.sgd(0.1, 0.9)), (optax.sgd(0.1), optim.sgd(0.1))],
)
def test_step_is_gradient_update_apply(optimizer, same):
    state = start(optimizer)
    step = train.make_step(loss, optimizer)
    batch = dataset()
    after, metrics = step(state, batch)
    (value, extra), grads = jax.value_and_grad(loss, has_aux=True)(state.params, batch, KEY)
    updates, _ = same.update(grads, same.init(state.params), state.params)
    assert after.step == 1
    assert after.key == state.key
    assert_trees_equal(after.params, optax.apply_updates(state.params, updates), rtol=1e-12)
    assert metrics["loss"] == value
    assert metrics["accuracy"] == extra["accuracy"]
    np.testing.assert_allclose(metrics["grad_norm"], optax.tree.norm(grads))
    own = {"learning_rate"} if isinstance(optimizer, optim.Optimizer) else set()
    assert set(metrics) == {"accuracy", "grad_norm", "loss"} | own


def test_each_step_has_its_own_key():
    def noise(params, batch, key):
        return params["bias"].sum(), {"draw": jax.random.normal(key)}

    step = train.make_step(noise, optim.sgd(0.1))
    state = start(optim.sgd(0.1))
    draws = []
    for i in range(3):
        state, metrics = step(state, None)
        want = jax.random.normal(jax.random.fold_in(state.key, i))
        assert metrics["draw"] == want
        draws.append(float(want))
    assert len(set(draws)) == 3


def test_step_is_pure_and_jits_once():
    once = chex.assert_max_traces(loss, n=1)
    step = jax.jit(train.make_step(once, optim.adam(0.1)))
    state, batch = start(), dataset()
    first, _ = step(state, batch)
    again, _ = step(state, batch)
    assert_trees_equal(first, again)
    step(again, batch)
    assert step._cache_size() == 1


def test_step_under_scan_and_vmap_over_learning_rates():
    batch = dataset()

    def last_loss(rate):
        optimizer = optim.adam(rate)
        step = train.make_step(loss, optimizer)
        _, metrics = jax.lax.scan(
            lambda state, _: step(state, batch), start(optimizer), None, 10
        )
        return metrics["loss"]

    rates = jnp.asarray([0.01, 0.1])
    got = jax.jit(jax.vmap(last_loss))(rates)
    one = jax.jit(last_loss)
    np.testing.assert_allclose(got, [one(rate) for rate in rates], rtol=1e-10)
    assert (got[:, -1] < got[:, 0]).all()


def test_a_step_without_metrics_and_with_raw_keys():
    step = train.make_step(lambda *a: loss(*a)[0], optim.sgd(0.1))
    state = start(optim.sgd(0.1), jax.random.PRNGKey(0))
    state, metrics = jax.jit(step)(state, dataset())
    assert sorted(metrics) == ["grad_norm", "learning_rate", "loss"]


@pytest.mark.parametrize(
    "result, error, message",
    [
        (
            lambda w: w,
            ValueError,
            r"make_step needs a scalar loss; got shape \(3,\). Take its mean.",
        ),
        (
            lambda w: (w[0], w[1]),
            TypeError,
            "make_step needs the loss's metrics to be a dict; got .*Tracer.*.",
        ),
        (
            lambda w: (w[0], {}, {}),
            TypeError,
            r"make_step needs a loss that returns a scalar or \(scalar, metrics\); "
            "got a tuple of 3.",
        ),
        (
            lambda w: jnp.argmax(w),
            TypeError,
            "make_step needs a floating-point loss; got int64.",
        ),
        (
            lambda w: {"loss": w[0]},
            TypeError,
            "make_step needs the loss to be a scalar array; got dict.",
        ),
        (
            lambda w: (w[0], {"grad_norm": w[0]}),
            ValueError,
            "make_step records 'grad_norm' itself; give the loss's metric another name.",
        ),
    ],
)
def test_bad_losses(result, error, message):
    step = train.make_step(lambda params, *_: result(params["bias"]), optim.sgd(0.1))
    with pytest.raises(error, match=rf"^{message}(\n|$)"):  # JAX adds a note
        step(start(optim.sgd(0.1)), None)


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
