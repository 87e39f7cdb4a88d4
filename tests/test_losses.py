"""Losses: means of the ops, in numbers that NumPy agrees with."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import losses

RNG = np.random.default_rng(0)
LOGITS = RNG.standard_normal((4, 3, 5))
LABELS = RNG.integers(0, 5, (4, 3))
PROBS = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
HOT = np.eye(5)[LABELS]


def assert_close(got, want, rtol=1e-12):
    np.testing.assert_allclose(got, want, rtol)


# Values


@pytest.mark.parametrize("labels", [LABELS, LABELS.astype(np.uint8), HOT, PROBS[::-1]])
def test_softmax_cross_entropy(labels):
    hot = labels if labels.ndim == 3 else HOT
    want = -(hot * np.log(PROBS)).sum(-1).mean()
    assert_close(losses.softmax_cross_entropy(LOGITS, labels), want)
    assert_close(jax.jit(losses.softmax_cross_entropy)(LOGITS, labels), want)


def test_softmax_cross_entropy_options():
    smooth = 0.8 * HOT + 0.2 / 5
    log_z = np.log(np.exp(LOGITS).sum(-1))
    want = -(smooth * np.log(PROBS)).sum(-1).mean() + 0.1 * (log_z**2).mean()
    got = losses.softmax_cross_entropy(LOGITS, LABELS, label_smoothing=0.2, z_loss=0.1)
    assert_close(got, want)


def test_linear_softmax_cross_entropy():
    weight, bias = RNG.standard_normal((5, 7)), RNG.standard_normal(7)
    options = {"label_smoothing": 0.2, "z_loss": 0.1}
    got = losses.linear_softmax_cross_entropy(LOGITS, weight, LABELS, bias, **options)
    scores = LOGITS @ weight + bias
    assert_close(got, losses.softmax_cross_entropy(scores, LABELS, **options))
    capped = losses.linear_softmax_cross_entropy(LOGITS, weight, LABELS, softcap=2.0)
    want = losses.softmax_cross_entropy(2 * np.tanh(LOGITS @ weight / 2), LABELS)
    assert_close(capped, want)


def test_ignored_examples_are_left_out_of_the_mean():
    weight, labels = RNG.standard_normal((5, 7)), LABELS.copy()
    labels[1:, 0] = -1
    counted = labels >= 0
    got, grad = jax.value_and_grad(losses.linear_softmax_cross_entropy)(
        jnp.asarray(LOGITS), weight, labels, ignore=-1
    )
    few, want = jax.value_and_grad(losses.linear_softmax_cross_entropy)(
        jnp.asarray(LOGITS[counted]), weight, labels[counted]
    )
    assert_close(got, few)
    np.testing.assert_allclose(grad[counted], want, 1e-12, 1e-14)
    assert not grad[~counted].any()
    none = losses.linear_softmax_cross_entropy(LOGITS, weight, 0 * labels - 1, ignore=-1)
    assert none == 0


@pytest.mark.parametrize("eps", [1e-10, 0.0, 0.5])
def test_cross_entropy(eps):
    want = -np.log((PROBS * HOT).sum(-1) + eps).mean()
    for labels in (LABELS, HOT):
        assert_close(losses.cross_entropy(PROBS, labels, eps=eps), want)


def test_cross_entropy_is_finite_where_the_probability_is_zero():
    probs = jnp.array([[0.0, 1.0]])
    value, grad = jax.value_and_grad(losses.cross_entropy)(probs, jnp.array([0]))
    assert_close(value, -np.log(1e-10))
    assert_close(grad, [[-1e10, 0.0]])


def test_mse():
    want = ((LOGITS - PROBS) ** 2).mean()
    assert_close(losses.mse(LOGITS, PROBS), want)
    assert_close(losses.mse(1.0, 3.0), 4.0)


def test_options_are_keywords():
    with pytest.raises(TypeError, match="positional argument"):
        losses.softmax_cross_entropy(LOGITS, LABELS, 0.1)
    with pytest.raises(TypeError, match="positional argument"):
        losses.cross_entropy(PROBS, LABELS, 1e-3)


# What they hold to


def head(dtype):
    return jnp.cos(jnp.arange(30, dtype=dtype)).reshape(5, 6)


CALLS = {
    "softmax_cross_entropy": lambda x: losses.softmax_cross_entropy(
        x, jnp.zeros(x.shape[:-1], int)
    ),
    "softmax_cross_entropy of probabilities": lambda x: losses.softmax_cross_entropy(
        x, jnp.ones_like(x) / 5
    ),
    "softmax_cross_entropy, all options": lambda x: losses.softmax_cross_entropy(
        x, jnp.zeros(x.shape[:-1], int), label_smoothing=0.1, z_loss=0.1
    ),
    "linear_softmax_cross_entropy": lambda x: losses.linear_softmax_cross_entropy(
        x, head(x.dtype), jnp.ones(x.shape[:-1], int)
    ),
    "linear_softmax_cross_entropy, ignoring": lambda x: losses.linear_softmax_cross_entropy(
        x, head(x.dtype), jnp.ones(x.shape[:-1], int), ignore=2
    ),
    "cross_entropy": lambda x: losses.cross_entropy(
        abs(x), jnp.zeros(x.shape[:-1], int), eps=0.1
    ),
    "mse": lambda x: losses.mse(x, jnp.ones_like(x)),
}
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@each_call
@pytest.mark.parametrize(
    "dtype, result",
    [
        (jnp.float16, jnp.float32),
        (jnp.bfloat16, jnp.float32),
        (jnp.float32, jnp.float32),
        (jnp.float64, jnp.float64),
    ],
)
def test_scalar_in_at_least_float32(call, dtype, result):
    x = jax.ShapeDtypeStruct((4, 3, 5), dtype)
    y = jax.eval_shape(call, x)
    assert (y.shape, y.dtype) == ((), result)
    assert jax.eval_shape(jax.grad(call), x) == x


@each_call
def test_mean_over_examples(call):
    whole = call(jnp.asarray(LOGITS))
    rows = [call(jnp.asarray(row)) for example in LOGITS for row in example]
    assert_close(whole, np.mean(rows))


@each_call
@pytest.mark.parametrize("shape", [(0, 5), (0, 3, 5), (3, 0, 5)])
def test_empty_batch_is_zero_with_a_finite_gradient(call, shape):
    value, grad = jax.value_and_grad(call)(jnp.zeros(shape))
    assert value == 0
    assert grad.shape == shape


def test_empty_batch_leaves_params_as_they_are():
    def loss(weight):
        return losses.softmax_cross_entropy(jnp.zeros((0, 3)) @ weight, jnp.zeros(0, int))

    assert (jax.grad(loss)(jnp.ones((3, 2))) == 0).all()


@each_call
def test_gradient_is_the_slope(call):
    x = jnp.asarray(LOGITS)
    direction = jnp.asarray(RNG.standard_normal(x.shape))
    h = 1e-5
    slope = (call(x + h * direction) - call(x - h * direction)) / (2 * h)
    assert_close((jax.grad(call)(x) * direction).sum(), slope, rtol=1e-7)


def test_many_examples_are_summed_in_float32():
    # in bfloat16, 256 + 1 is 256; in float16 the sum overflows
    for dtype in (jnp.bfloat16, jnp.float16):
        x = jnp.ones(100_000, dtype)
        assert losses.mse(x, 0 * x) == 1


# Accuracy


@pytest.mark.parametrize(
    "labels, want",
    [
        ([2, 0, 1, 2], 1.0),
        ([2, 0, 1, 1], 0.75),
        ([0, 1, 2, 0], 0.0),
        ([[0.1, 0.2, 0.7], [1, 0, 0], [0, 1, 0], [0, 1, 0]], 0.75),
    ],
)
def test_accuracy(labels, want):
    logits = jnp.array([[0.0, 1, 2], [9, 1, 2], [-2, -1, -3], [5, 5, 6]])
    value = losses.accuracy(logits, jnp.array(labels))
    assert (value, value.dtype) == (want, jnp.float32)


def test_accuracy_of_many_classes_and_small_label_types():
    logits = jnp.eye(300)
    labels = jnp.arange(300)
    assert losses.accuracy(logits, labels.astype(jnp.uint16)) == 1
    assert losses.accuracy(logits, labels.astype(jnp.uint8)) == np.float32(256 / 300)
    assert losses.accuracy(logits[None], labels[None]) == 1


def test_accuracy_takes_the_first_of_equal_logits():
    logits = jnp.zeros((2, 3), jnp.bfloat16)
    assert losses.accuracy(logits, jnp.array([0, 1])) == 0.5


def test_accuracy_of_an_empty_batch_is_zero():
    assert losses.accuracy(jnp.zeros((0, 3)), jnp.zeros(0, int)) == 0


def test_accuracy_under_jit_and_beside_a_loss():
    def loss(logits):
        return losses.softmax_cross_entropy(logits, LABELS), losses.accuracy(logits, LABELS)

    logits = jnp.asarray(LOGITS)
    (_, share), _ = jax.jit(jax.value_and_grad(loss, has_aux=True))(logits)
    assert share == np.float32((LOGITS.argmax(-1) == LABELS).mean())


# Errors


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (
            lambda: losses.softmax_cross_entropy(LOGITS, LABELS[0]),
            ValueError,
            r"softmax_cross_entropy needs integer labels of shape \(4, 3\)",
        ),
        (
            lambda: losses.softmax_cross_entropy(LOGITS, LABELS, label_smoothing=2.0),
            ValueError,
            r"softmax_cross_entropy needs label_smoothing in \[0.0, 1.0\]; got 2.0",
        ),
        (
            lambda: losses.cross_entropy(PROBS, HOT[:1]),
            ValueError,
            r"cross_entropy needs label probabilities of shape \(4, 3, 5\)",
        ),
        (
            lambda: losses.mse(LOGITS, LOGITS[0]),
            ValueError,
            "mse needs prediction and target of the same shape",
        ),
        (
            lambda: losses.accuracy(LOGITS, LABELS[0]),
            ValueError,
            r"accuracy needs integer labels of shape \(4, 3\)",
        ),
        (
            lambda: losses.accuracy(LABELS, LABELS),
            TypeError,
            "accuracy needs logits of a floating-point dtype; got int64",
        ),
        (
            lambda: losses.accuracy(LOGITS, LABELS > 2),
            TypeError,
            "accuracy needs labels of an integer or float dtype; got bool",
        ),
    ],
)
def test_errors(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
