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


WEIGHT, BIAS = RNG.standard_normal((5, 7)), RNG.standard_normal(7)
SMOOTH = {"label_smoothing": 0.2, "z_loss": 0.1}
SOME = LABELS.copy()
SOME[1:, 0] = -1
COUNTED = SOME >= 0
ZERO = np.array([[0.0, 1.0]])
KINDS = [LABELS, LABELS.astype(np.uint8), HOT, PROBS[::-1]]


@pytest.fixture(scope="module")
def computed():
    """What losses give, in one program."""
    cross, linear = losses.softmax_cross_entropy, losses.linear_softmax_cross_entropy

    @jax.jit
    def compute(logits, probs, zero):
        scores = logits @ WEIGHT + BIAS
        ignoring = jax.value_and_grad(lambda x: linear(x, WEIGHT, SOME, ignore=-1))
        few = jax.value_and_grad(lambda x: linear(x, WEIGHT, SOME[COUNTED]))
        capped = 2 * jnp.tanh(logits @ WEIGHT / 2)
        return {
            "softmax": [cross(logits, labels) for labels in KINDS],
            "options": cross(logits, LABELS, **SMOOTH),
            "linear": linear(logits, WEIGHT, LABELS, BIAS, **SMOOTH),
            "of scores": cross(scores, LABELS, **SMOOTH),
            "softcap": linear(logits, WEIGHT, LABELS, softcap=2.0),
            "of capped": cross(capped, LABELS),
            "ignoring": ignoring(logits),
            "few": few(logits[COUNTED]),
            "none": linear(logits, WEIGHT, 0 * LABELS - 1, ignore=-1),
            "probs": [
                [losses.cross_entropy(probs, labels, eps=eps) for labels in (LABELS, HOT)]
                for eps in (1e-10, 0.0, 0.5)
            ],
            "zero": jax.value_and_grad(losses.cross_entropy)(zero, np.array([0])),
            "mse": [losses.mse(logits, probs), losses.mse(1.0, 3.0)],
        }

    return jax.tree.map(np.asarray, compute(LOGITS, PROBS, ZERO))


def test_softmax_cross_entropy(computed):
    for labels, got in zip(KINDS, computed["softmax"], strict=True):
        hot = labels if labels.ndim == 3 else HOT
        assert_close(got, -(hot * np.log(PROBS)).sum(-1).mean())


def test_softmax_cross_entropy_without_jit(computed):
    assert_close(losses.softmax_cross_entropy(LOGITS, LABELS), computed["softmax"][0])


def test_softmax_cross_entropy_options(computed):
    smooth = 0.8 * HOT + 0.2 / 5
    log_z = np.log(np.exp(LOGITS).sum(-1))
    want = -(smooth * np.log(PROBS)).sum(-1).mean() + 0.1 * (log_z**2).mean()
    assert_close(computed["options"], want)


def test_linear_softmax_cross_entropy(computed):
    assert_close(computed["linear"], computed["of scores"])
    assert_close(computed["softcap"], computed["of capped"])


def test_ignored_examples_are_left_out_of_the_mean(computed):
    got, grad = computed["ignoring"]
    few, want = computed["few"]
    assert_close(got, few)
    np.testing.assert_allclose(grad[COUNTED], want, 1e-12, 1e-14)
    assert not grad[~COUNTED].any()
    assert computed["none"] == 0


def test_cross_entropy(computed):
    for eps, found in zip((1e-10, 0.0, 0.5), computed["probs"], strict=True):
        want = -np.log((PROBS * HOT).sum(-1) + eps).mean()
        assert_close(found, [want, want])


def test_cross_entropy_is_finite_where_the_probability_is_zero(computed):
    value, grad = computed["zero"]
    assert_close(value, -np.log(1e-10))
    assert_close(grad, [[-1e10, 0.0]])


def test_mse(computed):
    assert_close(computed["mse"], [((LOGITS - PROBS) ** 2).mean(), 4.0])


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
each_call = pytest.mark.parametrize("name", CALLS)
EMPTY = [(0, 5), (0, 3, 5), (3, 0, 5)]
DIRECTION = RNG.standard_normal(LOGITS.shape)
STEP = 1e-5


@pytest.fixture(scope="module")
def held():
    """Of each call: its value, those of the rows, its gradient, and values beside it."""

    @jax.jit
    def compute(x):
        return {
            name: {
                "value and gradient": jax.value_and_grad(call)(x),
                "rows": jax.vmap(call)(x.reshape(-1, x.shape[-1])),
                "beside": jax.vmap(call)(jnp.stack([x - h, x + h])),
                "empty": [jax.value_and_grad(call)(np.zeros(shape)) for shape in EMPTY],
            }
            for name, call in CALLS.items()
        }

    h = STEP * DIRECTION
    return jax.tree.map(np.asarray, compute(LOGITS))


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
def test_scalar_in_at_least_float32(name, dtype, result):
    call, x = CALLS[name], jax.ShapeDtypeStruct((4, 3, 5), dtype)
    y, grad = jax.eval_shape(jax.value_and_grad(call), x)
    assert (y.shape, y.dtype) == ((), result)
    assert grad == x


@each_call
def test_mean_over_examples(held, name):
    whole, _ = held[name]["value and gradient"]
    assert_close(whole, np.mean(held[name]["rows"]))


@each_call
def test_empty_batch_is_zero_with_a_finite_gradient(held, name):
    for shape, (value, grad) in zip(EMPTY, held[name]["empty"], strict=True):
        assert value == 0
        assert grad.shape == shape


def test_empty_batch_leaves_params_as_they_are():
    def loss(weight):
        return losses.softmax_cross_entropy(np.zeros((0, 3)) @ weight, np.zeros(0, int))

    assert (jax.jit(jax.grad(loss))(np.ones((3, 2))) == 0).all()


@each_call
def test_gradient_is_the_slope(held, name):
    _, grad = held[name]["value and gradient"]
    before, after = held[name]["beside"]
    assert_close((grad * DIRECTION).sum(), (after - before) / (2 * STEP), rtol=1e-7)


def test_many_examples_are_summed_in_float32():
    # in bfloat16, 256 + 1 is 256; in float16 the sum overflows
    many = [np.ones(100_000, dtype) for dtype in (jnp.bfloat16, jnp.float16)]
    assert jax.jit(lambda xs: [losses.mse(x, 0 * x) for x in xs])(many) == [1, 1]


# Accuracy


THREE = np.array([[0.0, 1, 2], [9, 1, 2], [-2, -1, -3], [5, 5, 6]])
ANSWERS = [
    ([2, 0, 1, 2], 1.0),
    ([2, 0, 1, 1], 0.75),
    ([0, 1, 2, 0], 0.0),
    ([[0.1, 0.2, 0.7], [1, 0, 0], [0, 1, 0], [0, 1, 0]], 0.75),
]


@pytest.fixture(scope="module")
def shares():
    """What accuracy gives, in one program."""
    many, order = np.eye(300), np.arange(300)

    @jax.jit
    def compute(three, many):
        right = losses.accuracy
        return {
            "answers": [right(three, np.array(labels)) for labels, _ in ANSWERS],
            "many": right(many, order.astype(np.uint16)),
            "wrapped": right(many, order.astype(np.uint8)),
            "batch": right(many[None], order[None]),
            "equal": right(np.zeros((2, 3), jnp.bfloat16), np.array([0, 1])),
            "empty": right(np.zeros((0, 3)), np.zeros(0, int)),
        }

    return jax.tree.map(np.asarray, compute(THREE, many))


def test_accuracy(shares):
    assert [float(share) for share in shares["answers"]] == [want for _, want in ANSWERS]
    assert {share.dtype for share in shares["answers"]} == {np.dtype("float32")}


def test_accuracy_without_jit():
    assert losses.accuracy(THREE, np.array([2, 0, 1, 1])) == 0.75


def test_accuracy_of_many_classes_and_small_label_types(shares):
    assert shares["many"] == 1
    assert shares["wrapped"] == np.float32(256 / 300)
    assert shares["batch"] == 1


def test_accuracy_takes_the_first_of_equal_logits(shares):
    assert shares["equal"] == 0.5


def test_accuracy_of_an_empty_batch_is_zero(shares):
    assert shares["empty"] == 0


def test_accuracy_under_jit_and_beside_a_loss():
    def loss(logits):
        return losses.softmax_cross_entropy(logits, LABELS), losses.accuracy(logits, LABELS)

    (_, share), _ = jax.jit(jax.value_and_grad(loss, has_aux=True))(jnp.asarray(LOGITS))
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


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint32", "int64", "uint64"])
def test_labels_of_any_integer_dtype(dtype):
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(4, 300)))
    labels = np.array([0, 7, 120, 3])
    kind = {"ignore": (7, -1)}
    want = losses.softmax_cross_entropy(logits, jnp.asarray(labels), **kind)
    found = losses.softmax_cross_entropy(logits, jnp.asarray(labels, dtype), **kind)
    np.testing.assert_allclose(found, want, 1e-12)
    slope = jax.grad(lambda x: losses.softmax_cross_entropy(x, labels, **kind))(logits)
    assert (slope[1] == 0).all()
