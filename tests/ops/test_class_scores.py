"""Softmax and its losses where formulas break: masked rows, large and absent logits."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import ops
from funcnn.kernels import _chunks
from tests.support.hard_points import (
    DTYPES,
    INF,
    ROUNDING,
    close,
    normal,
    value_and_pullback,
    wide,
)

# Softmax and its losses


@DTYPES
def test_softmax_of_a_masked_row_is_zero(dtype):
    x = jnp.array([[-INF, -INF, -INF], [0.0, -INF, 0.0], [1e4, -1e4, 1e4]], dtype)
    dy = jnp.array([[1.0, 2.0, -3.0]] * 3, dtype)
    y, (dx,) = value_and_pullback(ops.softmax, (x,), dy)
    assert y.dtype == dx.dtype == x.dtype
    close(y, [[0, 0, 0], [0.5, 0, 0.5], [0.5, 0, 0.5]], ROUNDING[dtype])
    close(dx, [[0, 0, 0], [1, 0, -1], [1, 0, -1]], ROUNDING[dtype])


@DTYPES
def test_log_softmax_of_a_masked_row_holds_no_nan(dtype):
    x = jnp.array([[-INF, -INF, -INF], [0.0, -INF, 0.0], [1e4, -1e4, 1e4]], dtype)
    dy = jnp.array([[1.0, 2.0, -4.0]] * 3, dtype)
    y, (dx,) = value_and_pullback(ops.log_softmax, (x,), dy)
    half = -math.log(2)
    gap = half + 2 * wide(x)[2, 1]
    close(y, [[-INF] * 3, [half, -INF, half], [half, gap, half]], ROUNDING[dtype])
    assert not np.isnan(wide(dx)).any()
    close(dx[1:], [[1.5, 2, -3.5]] * 2, ROUNDING[dtype], 2 * ROUNDING[dtype])


@DTYPES
def test_softmax_cross_entropy_of_large_logits(dtype):
    x = jnp.array([[1e4, -1e4, 0.0], [1e4, -1e4, 0.0], [-1e4, -1e4, -1e4]], dtype)
    labels = jnp.array([0, 1, 2])
    big = wide(x)[0, 0]
    y, (dx,) = value_and_pullback(lambda x: ops.softmax_cross_entropy(x, labels), (x,))
    close(y, [0, 2 * big, math.log(3)], ROUNDING[dtype])
    third = 1 / 3
    expected = [[0, 0, 0], [1, -1, 0], [third, third, third - 1]]
    close(dx, expected, 2 * ROUNDING[dtype])


@pytest.mark.parametrize("z_loss", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["integers", "probabilities"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_an_absent_class_adds_nothing(dtype, kind, z_loss):
    """A logit of -inf with label 0 leaves everything as if the class did not exist."""
    x = np.array([[0.5, -INF, 2.0, -1.0], [-INF, -INF, 3.0, 1.5]])
    present = [x[0, [0, 2, 3]], x[1, 2:]]
    q = [np.array([0.25, 0.0, 0.5, 0.25]), np.array([0.0, 0.0, 0.25, 0.75])]
    lse = [math.log(sum(map(math.exp, row))) for row in present]
    if kind == "integers":
        labels, q = jnp.array([2, 3]), [np.eye(4)[2], np.eye(4)[3]]
        arrays = (jnp.asarray(x, dtype),)

        def op(x):
            return ops.softmax_cross_entropy(x, labels, z_loss=z_loss)
    else:
        arrays = (jnp.asarray(x, dtype), jnp.asarray(q, dtype))

        def op(x, q):
            return ops.softmax_cross_entropy(x, q, z_loss=z_loss)

    y, (dx, *dq) = value_and_pullback(op, arrays)

    for row in range(2):
        there = np.isfinite(x[row])
        surprise = lse[row] - x[row, there]
        expected = q[row][there] @ surprise + z_loss * lse[row] ** 2
        slope = (1 + 2 * z_loss * lse[row]) * np.exp(-surprise) - q[row][there]
        close(y[row], expected, 2 * ROUNDING[dtype])
        close(dx[row, there], slope, 2 * ROUNDING[dtype], ROUNDING[dtype])
        assert not dx[row, ~there].any()
        if dq:
            close(dq[0][row, there], surprise, ROUNDING[dtype])
            assert not np.isnan(wide(dq[0])).any()


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_a_label_on_an_absent_class_is_an_infinite_loss_without_nan(dtype):
    x = jnp.array([[0.0, -INF], [-INF, -INF]], dtype)
    labels = jnp.array([1, 0])
    y, (dx,) = value_and_pullback(lambda x: ops.softmax_cross_entropy(x, labels), (x,))
    assert (wide(y) == INF).all()
    close(dx[0], [1, -1], 0)
    assert np.isfinite(wide(dx)).all()


# A chunk may hold all classes, or two of five: the last is a chunk of its own
CHUNKS = pytest.mark.parametrize("size", [5, 2], ids=["one chunk", "three chunks"])


@pytest.fixture
def chunks_of(monkeypatch):
    """Let chunks hold so many classes."""

    def choose(size):
        monkeypatch.setattr(_chunks, "classes_at_once", lambda _, most: min(size, most))

    jax.clear_caches()
    yield choose
    jax.clear_caches()


@CHUNKS
@pytest.mark.parametrize(
    "junk", [3.0, pytest.param(INF, marks=pytest.mark.exhaustive), math.nan]
)
def test_an_ignored_example_is_as_if_it_did_not_exist(junk, size, chunks_of):
    chunks_of(size)
    x, weight, bias, dy = normal(4, 3), normal(3, 5), normal(5), normal(4)
    labels, counted = np.array([0, -100, 4, -100]), [0, 2]
    x = x.at[jnp.array([1, 3])].set(junk)

    def op(labels):
        return lambda *a: ops.linear_softmax_cross_entropy(
            *a[:2], labels, a[2], 0.1, 0.2, 3.0, -100
        )

    y, (dx, *rest) = value_and_pullback(op(labels), (x, weight, bias), dy)
    few = x[jnp.array(counted)], weight, bias
    short, (dshort, *others) = value_and_pullback(
        op(labels[counted]), few, dy[jnp.array(counted)]
    )
    close(y[jnp.array(counted)], short, 1e-14)
    close(dx[jnp.array(counted)], dshort, 1e-13)
    assert not y[1::2].any()
    assert not dx[1::2].any()
    for got, want in zip(rest, others, strict=True):
        close(got, want, 1e-12, 1e-13)


@CHUNKS
@pytest.mark.parametrize("label", [-1, 5, 300])
def test_a_label_out_of_range_is_nan_and_no_other_example_is(label, size, chunks_of):
    chunks_of(size)
    labels = jnp.array([2, label, 4])

    def op(x):
        return ops.linear_softmax_cross_entropy(x, normal(3, 5), labels, ignore=-7)

    y, (dx,) = value_and_pullback(op, (normal(3, 3),))
    assert np.isnan(wide(y)).tolist() == [False, True, False]
    assert np.isnan(wide(dx)).all(1).tolist() == [False, True, False]
    assert np.isfinite(wide(dx)[::2]).all()


def test_ignored_labels_of_types_that_cannot_hold_the_number():
    def op(dtype, ignore):
        labels = jnp.array([0, 1, 4], dtype)
        x, weight = normal(3, 3), normal(3, 5)
        return ops.linear_softmax_cross_entropy(x, weight, labels, ignore=ignore)

    close(op("uint8", -100), op("int32", None), 0)
    assert (wide(op("uint8", 4)) == 0).tolist() == [False, False, True]


@CHUNKS
def test_linear_softmax_cross_entropy_of_large_logits(size, chunks_of):
    chunks_of(size)
    x = jnp.array([[1e4], [1e4], [-1e4], [1.0]], "float32")
    weight = jnp.array([[-1.0, 0.0, 1.0, -1.0, -1.0]], "float32")
    labels = jnp.array([2, 0, 2, 1])
    y, (dx, dweight) = value_and_pullback(
        lambda *a: ops.linear_softmax_cross_entropy(*a, labels), (x, weight)
    )
    z = 1 + math.e + 3 / math.e
    close(y, [0, 2e4, 2e4 + math.log(3), math.log(z)], 1e-6)
    close(dx, [[0], [2], [-2], [(math.e - 3 / math.e) / z]], 1e-5)
    close(dweight[0, 2], 1e4 * (1 + 1) + math.e / z, 1e-6)


@CHUNKS
@pytest.mark.parametrize(
    "dtype", ["bfloat16", pytest.param("float32", marks=pytest.mark.exhaustive), "float64"]
)
def test_classes_whose_bias_is_minus_infinity_add_nothing(dtype, size, chunks_of):
    chunks_of(size)
    x, weight, bias = (jnp.asarray(normal(*s), dtype) for s in ((2, 3), (3, 5), (5,)))
    there = jnp.array([2, 4])
    masked = jnp.full(5, -INF, dtype).at[there].set(bias[there])

    def op(labels):
        return lambda x, w, b: ops.linear_softmax_cross_entropy(x, w, labels, b, z_loss=0.1)

    y, (dx, dweight, dbias) = value_and_pullback(op(jnp.array([2, 4])), (x, weight, masked))
    fewer = x, weight[:, there], bias[there]
    expected, gradients = value_and_pullback(op(jnp.array([0, 1])), fewer)
    found = y, dx, dweight[:, there], dbias[there]
    for got, want in zip(found, (expected, *gradients), strict=True):
        close(got, wide(want), ROUNDING[dtype], ROUNDING[dtype])
    gone = jnp.array([0, 1, 3])
    assert not dweight[:, gone].any()
    assert not dbias[gone].any()
    y, (dx, *_) = value_and_pullback(op(jnp.array([0, 4])), (x, weight, masked))
    assert y[0] == INF
    assert np.isfinite(wide(dx)).all()


@CHUNKS
def test_no_class_at_all_holds_no_nan(size, chunks_of):
    chunks_of(size)
    labels, nothing = jnp.array([1, 4]), jnp.full(5, -INF)
    y, gradients = value_and_pullback(
        lambda *a: ops.linear_softmax_cross_entropy(*a[:2], labels, a[2], z_loss=0.1),
        (normal(2, 3), normal(3, 5), nothing),
    )
    assert (wide(y) == INF).all()
    assert all(np.isfinite(wide(g)).all() for g in gradients)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_cross_entropy_at_probability_zero(dtype):
    p = jnp.array([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]], dtype)
    q = jnp.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]], dtype)
    most = -math.log(1e-10)
    y, (dp, dq) = value_and_pullback(ops.cross_entropy, (p, q))
    rtol, atol = ROUNDING[dtype] + 1e-9, 1e-9  # log(1 + eps) is not quite 0
    close(y, [most, most / 2, 0], rtol, atol)
    close(dp, [[-1e10, 0], [-5e9, -0.5], [0, -1]], rtol)
    close(dq, [[most, 0]] * 3, rtol, atol)

    labels = jnp.array([0, 1, 0])
    y, (dp,) = value_and_pullback(lambda p: ops.cross_entropy(p, labels), (p,))
    close(y, [most, 0, most], rtol, atol)
    close(dp, [[-1e10, 0], [0, -1], [-1e10, 0]], rtol)
