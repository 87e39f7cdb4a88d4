"""Weights of examples that are learned themselves, also where they are 0.

A method for that is a gradient through a step of training, at weights of 0 (Ren et al.,
2018, arXiv:1803.09050).
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import losses, ops

rng = np.random.default_rng(0)
X = rng.normal(size=(4, 3))
LOGITS = rng.normal(size=(4, 5))
IDS = np.array([0, 4, 2, 2])
SOME = rng.uniform(0.5, 2, 4)
MATRIX = rng.normal(size=(3, 5))

# Losses of an example each, of a model's output and of the weights.
EACH = {
    "softmax": lambda s, w: ops.softmax_cross_entropy(s, IDS, weights=w),
    "softmax, probabilities": lambda s, w: ops.softmax_cross_entropy(
        s, jax.nn.one_hot(IDS, 5, dtype=s.dtype), weights=w
    ),
    "probabilities": lambda s, w: ops.cross_entropy(jax.nn.softmax(s), IDS, weights=w),
    "binary": lambda s, w: ops.binary_cross_entropy(s[:, 0], IDS > 1, weights=w),
    "linear": lambda s, w: ops.linear_softmax_cross_entropy(
        s[:, :3], jnp.asarray(MATRIX, s.dtype), IDS, weights=w
    ),
}


@pytest.mark.parametrize("name", EACH)
@pytest.mark.parametrize("at", [0.0, 1.0])
def test_gradients_have_a_derivative_in_weights_of_zero(name, at):
    """It is the gradient of each example's loss, whatever the weight is."""

    def gradient(w):
        return jax.grad(lambda s: EACH[name](s, w).sum())(jnp.asarray(LOGITS))

    found = jax.jacrev(gradient)(jnp.full(4, at))
    want = jax.jacrev(lambda s: EACH[name](s, None))(jnp.asarray(LOGITS))
    np.testing.assert_allclose(np.moveaxis(found, -1, 0), want, 1e-6, 1e-6)


@pytest.mark.parametrize("name", EACH)
def test_values_have_a_second_derivative_there(name):
    def f(w):
        return EACH[name](jnp.asarray(LOGITS), w).sum() ** 2

    found = jax.jacrev(jax.grad(f))
    each = EACH[name](jnp.asarray(LOGITS), None)
    np.testing.assert_allclose(found(jnp.zeros(4)), 2 * jnp.outer(each, each), 1e-5)


@pytest.mark.parametrize("name", EACH)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_in_an_example_of_weight_zero_reaches_nothing(name, bad):
    w = jnp.array([1.0, 0.0, 2.0, 0.5])
    s = jnp.asarray(LOGITS)
    value, pullback = jax.vjp(lambda s: EACH[name](s, w), s.at[1].set(bad))
    assert value[1] == 0
    ds = pullback(jnp.ones(4))[0]
    want = jax.grad(lambda s: EACH[name](s, w).sum())(s).at[1].set(0)
    if name == "probabilities":  # a softmax before it has cotangents of its own
        ds, want = (np.delete(a, 1, 0) for a in (ds, want))
    np.testing.assert_allclose(ds, want, 1e-6)


@pytest.mark.parametrize("parts", [False, True])
def test_a_mean_depends_on_its_weights_through_their_sum_too(parts):
    s = jnp.asarray(LOGITS)

    def mean(w):
        found = losses.softmax_cross_entropy(s, IDS, weights=w, parts=parts)
        return found.value if parts else found

    def plain(w):
        return (w * ops.softmax_cross_entropy(s, IDS)).sum() / w.sum()

    w = jnp.asarray(SOME)
    np.testing.assert_allclose(jax.grad(mean)(w), jax.grad(plain)(w), 1e-5)
