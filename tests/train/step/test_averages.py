"""A loss that tells what it counts has one mean, in however many parts a batch comes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from funcnn import losses, optim, train

KEY = jax.random.key(0)
LABELS = np.array([1, -1, -1, -1, 0, 2, 1, -1])  # of two, one token counts, and then three
WEIGHTS = np.array([0.5, 2.0, 0.0, 1.0, 3.0, 0.25, 1.0, 1.0], np.float32)


def start(optimizer):
    params = {"w": jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)))}
    return train.TrainState(jnp.int32(0), params, optimizer.init(params), KEY)


def data():
    return np.random.default_rng(1).normal(size=(8, 4)), LABELS, WEIGHTS


def exact(params, batch, key):
    x, labels, weights = batch
    logits = x @ params["w"]
    kind = {"ignore": -1, "weights": weights, "parts": True}
    loss = losses.softmax_cross_entropy(logits, labels, **kind)
    return loss, {"accuracy": losses.accuracy(logits, labels, **kind)}


@pytest.fixture(scope="module")
def whole():
    """The loss, its accuracy and its gradient over all examples that count, by hand."""
    x, labels, weights = data()
    w = start(optim.sgd(1.0)).params["w"]

    def loss(w):
        logits = x[labels >= 0] @ w
        each = optax.softmax_cross_entropy_with_integer_labels(logits, labels[labels >= 0])
        share = weights[labels >= 0].astype(float)
        hits = (logits.argmax(-1) == labels[labels >= 0]).astype(float)
        return (share * each).sum() / share.sum(), (share * hits).sum() / share.sum()

    (value, accuracy), grad = jax.value_and_grad(loss, has_aux=True)(w)
    return value, accuracy, grad


@pytest.mark.parametrize("n", [1, 2, 4, 8])
def test_microbatches_weigh_as_much_as_they_count(whole, n):
    """Of eight, some count nothing."""
    step = jax.jit(train.make_step(exact, optim.sgd(1.0), microbatches=n))
    state = start(optim.sgd(1.0))
    after, metrics = step(state, data())
    got = state.params["w"] - after.params["w"]
    found = metrics["loss"], metrics["accuracy"], got
    for a, want in zip(found, whole, strict=True):
        np.testing.assert_allclose(a, want, 1e-6)


def test_accumulated_steps_weigh_as_much_as_they_count(whole):
    optimizer = optim.chain(optim.accumulate(optim.sgd(1.0), 4))
    step = train.scan_steps(train.make_step(exact, optimizer))
    batches = jax.tree.map(lambda a: a.reshape(4, 2, *a.shape[1:]), data())
    state = start(optimizer)
    after, _ = jax.jit(step)(state, batches)
    np.testing.assert_allclose(state.params["w"] - after.params["w"], whole[2], 1e-6)
    assert after.opt_state[0].counted == 0


def test_of_nothing_that_counts_there_is_no_gradient():
    x, labels, weights = data()
    state = start(optim.sgd(1.0))
    step = train.make_step(exact, optim.sgd(1.0), microbatches=2)
    after, metrics = jax.jit(step)(state, (x, np.full_like(labels, -1), weights))
    assert [float(metrics[k]) for k in ("loss", "accuracy", "grad_norm")] == [0, 0, 0]
    np.testing.assert_array_equal(after.params["w"], state.params["w"])


def test_evaluations_add_up_averages(whole):
    """Over batches of 3, the last of which has 2 examples, and beside metrics of each."""

    def metrics(params, batch):
        loss, more = exact(params, batch, KEY)
        return {"loss": loss, **more, "third": batch[1] == 2}

    found = train.evaluator(metrics, data(), 3)(start(optim.sgd(1.0)).params)
    np.testing.assert_allclose(found["loss"], whole[0], 1e-6)
    np.testing.assert_allclose(found["accuracy"], whole[1], 1e-6)
    assert found["third"] == 1 / 8


def test_averages_of_arrays_are_refused():
    def of_each(params, batch, key):
        return losses.Average(params["w"].sum(), jnp.ones(3))

    with pytest.raises(
        ValueError, match=r"needs an Average of scalars; got a count of \(3,"
    ):
        train.make_step(of_each, optim.sgd(1.0))(start(optim.sgd(1.0)), data())
    evaluate = train.evaluator(lambda p, b: {"a": losses.Average(b[2], b[2])}, data(), 8)
    with pytest.raises(ValueError, match=r"needs an Average of scalars; got .* of 'a'"):
        evaluate({})


def test_devices_add_up_averages(whole):
    """As `jax.lax.psum` does in a map over axes, which devices would be."""
    w = start(optim.sgd(1.0)).params["w"]
    parts = jax.tree.map(lambda a: a.reshape(4, 2, *a.shape[1:]), data())

    def loss(w):
        def of(part):
            return jax.lax.psum(exact({"w": w}, part, KEY)[0], "devices").value

        return jax.vmap(of, axis_name="devices")(parts)[0]

    value, grad = jax.value_and_grad(loss)(w)
    np.testing.assert_allclose(value, whole[0], 1e-6)
    np.testing.assert_allclose(grad, whole[2], 1e-6)
