"""Features of mean 0 and standard deviation 1, to the last digits."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import train

CASES = [  # shape, axes, and the shape of what is found
    ((40, 5, 6, 3), None, (3,)),
    ((40, 3), None, (3,)),
    ((40,), None, ()),
    ((40, 5, 6, 3), 0, (5, 6, 3)),
    ((40, 5, 6, 3), [0, -1], (5, 6, 1)),
    ((40, 5, 6, 3), (3, 1), (40, 1, 6, 1)),
    ((4, 3), (), (4, 3)),
]


@jax.jit
def moments_and_standardized(arrays):
    """Of all cases in one program."""
    found = [train.moments(x, axis) for x, (_, axis, _) in zip(arrays, CASES, strict=True)]
    return [
        (*each, train.standardize(x, *each)) for x, each in zip(arrays, found, strict=True)
    ]


@pytest.mark.parametrize(
    "dtype",
    [
        *(np.uint8, bool, jnp.bfloat16, np.float32, np.float64),
        *(pytest.param(d, marks=pytest.mark.exhaustive) for d in (np.int64, np.float16)),
    ],
)
def test_moments(dtype):
    rng = np.random.default_rng(0)
    most = 2 if dtype is bool else 200
    arrays = [(rng.random(shape) * most).astype(dtype) for shape, _, _ in CASES]
    found = moments_and_standardized(arrays)
    for x, (_, axis, seen), results in zip(arrays, CASES, found, strict=True):
        check_moments(x, axis, seen, *results)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(
    "case", [CASES[0], *(pytest.param(c, marks=pytest.mark.exhaustive) for c in CASES[1:])]
)
def test_moments_of_numpy_arrays_one_operation_at_a_time(case, dtype):
    shape, axis, seen = case
    x = (np.random.default_rng(0).random(shape) * 200).astype(dtype)
    mean, std = train.moments(x, axis)
    check_moments(x, axis, seen, mean, std, train.standardize(x, mean, std))


def check_moments(x, axis, seen, mean, std, y):
    dtype = x.dtype
    exact = np.float64 if dtype == np.float64 else np.float32
    assert mean.dtype == std.dtype == exact
    assert mean.shape == std.shape == seen
    if axis is None:
        axis = tuple(range(max(x.ndim - 1, 1)))
    wide, over = x.astype(np.float64), {"axis": tuple(axis) if axis != 0 else 0}
    tolerance = {"rtol": 20 * np.finfo(exact).eps, "atol": 1e-30}
    np.testing.assert_allclose(mean, wide.mean(**over).reshape(seen), **tolerance)
    np.testing.assert_allclose(std, wide.std(**over).reshape(seen), **tolerance)
    assert y.dtype == (dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.float32)
    assert y.shape == x.shape
    scale = np.where(np.asarray(std) == 0, 1, std)
    want = (wide - np.asarray(mean, np.float64)) / scale
    np.testing.assert_allclose(
        np.asarray(y, np.float64), want, atol=4 * float(jnp.finfo(y.dtype).eps), rtol=1e-2
    )


def test_constant_features_are_zero():
    """Also where the mean of a constant, rounded, would not be that constant."""
    x = np.random.default_rng(0).random((1001, 200), np.float32)
    x[:, 1:] = x[0, 1:]
    mean, std = train.moments(x)
    assert std[0] > 0
    np.testing.assert_array_equal(std[1:], 0)
    np.testing.assert_array_equal(mean[1:], x[0, 1:])
    y = train.standardize(x, mean, std)
    np.testing.assert_array_equal(y[:, 1:], 0)
    np.testing.assert_allclose(y[:, 0].mean(), 0, atol=1e-6)
    np.testing.assert_array_equal(train.standardize(x + 1, mean, std)[:, 1:], 0)
    gradient = jax.grad(lambda x: train.standardize(x, mean, std).sum())(x)
    assert np.isfinite(gradient).all()


def test_moments_of_large_means_are_right():
    """Squares minus the square of the mean would have no digit left."""
    x = 1e4 + np.random.default_rng(0).random((100_000, 1)).astype(np.float32)
    mean, std = train.moments(x)
    np.testing.assert_allclose(mean, x.mean(0, np.float64), rtol=1e-7)
    np.testing.assert_allclose(std, x.std(0, np.float64), rtol=1e-5)


def test_a_nan_stays_to_be_seen():
    x = np.float32([[1, 2], [np.nan, 3]])
    y = train.standardize(x, *train.moments(x))
    assert np.isnan(y).tolist() == [[True, False], [True, False]]


def test_both_are_functions_for_transformations():
    x = np.random.default_rng(0).random((6, 10, 3))
    one = jax.jit(lambda x: (*train.moments(x), train.standardize(x, *train.moments(x))))
    want = [one(a)[1] for a in x]
    np.testing.assert_allclose(jax.jit(jax.vmap(train.moments))(x)[1], want, rtol=1e-12)
    mean, std, y = one(x[0])
    np.testing.assert_allclose(y, train.standardize(x[0], mean, std), rtol=1e-9)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda: train.moments(np.ones((0, 3))),
            ValueError,
            "moments needs at least one example; got shape (0, 3).",
        ),
        (
            lambda: train.moments(np.float32(3)),
            ValueError,
            "moments needs at least one example; got shape ().",
        ),
        (
            lambda: train.moments(np.ones((2, 3)), 2),
            ValueError,
            "moments needs an axis of x of shape (2, 3); got 2.",
        ),
        (
            lambda: train.moments(np.ones((2, 3)), 0.5),
            TypeError,
            "moments needs an integer axis; got 0.5.",
        ),
        (
            lambda: train.moments(np.ones(3, complex)),
            TypeError,
            "moments needs x of real numbers; got complex128.",
        ),
        (
            lambda: train.moments([1.0]),
            TypeError,
            "moments needs x to be an array; got list.",
        ),
        (
            lambda: train.standardize(np.ones((4, 3)), np.ones(2), np.ones(3)),
            ValueError,
            "standardize needs mean of a shape that broadcasts to (4, 3), that of x; "
            "got (2,).",
        ),
        (
            lambda: train.standardize(np.ones(3), np.ones(3), np.ones((4, 3))),
            ValueError,
            "standardize needs std of a shape that broadcasts to (3,), that of x; "
            "got (4, 3).",
        ),
    ],
)
def test_bad_moments(call, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call()
