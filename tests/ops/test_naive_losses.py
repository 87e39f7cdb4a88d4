"""Losses against loops over every index, in float64."""

import numpy as np
import pytest

from funcnn import ops
from tests.support import naive
from tests.support.against_loops import RNG, check, normals
from tests.support.combinations import combinations

SHAPES = [(3,), (1, 4), (5, 3), (2, 3, 4), (3, 2), (0, 4), (2, 0, 3)]
CONSTANTS = [(0.0, 0.0), (0.1, 0.0), (0.0, 0.2), (1.0, 0.5)]
SMOOTHED = [(shape, 0.3, 1e-2) for shape in SHAPES] + [((5, 3), *c) for c in CONSTANTS]
GUARDED = [(shape, 1e-10) for shape in SHAPES] + [((5, 3), 0.1)]


@pytest.mark.parametrize(("shape", "smoothing", "z"), SMOOTHED, ids=str)
def test_softmax_cross_entropy_of_integers(shape, smoothing, z):
    labels = RNG(3).integers(0, shape[-1], shape[:-1])
    grad = naive.softmax_cross_entropy_grad
    check(
        lambda x: ops.softmax_cross_entropy(x, labels, smoothing, z),
        lambda x: naive.softmax_cross_entropy(x, labels, smoothing, z),
        lambda x, dy: grad(x, labels, dy, smoothing, z)[0],
        3 * normals(shape)[0],
    )


@combinations("case, total", SMOOTHED, [1.0, 2.5], quick=3)
def test_softmax_cross_entropy_of_probabilities(case, total):
    shape, smoothing, z = case
    labels = RNG(3).random(shape) + 0.01
    labels *= total / labels.sum(-1, keepdims=True)
    grad = naive.softmax_cross_entropy_grad
    check(
        lambda x, q: ops.softmax_cross_entropy(x, q, smoothing, z),
        lambda x, q: naive.softmax_cross_entropy(x, q, smoothing, z),
        lambda x, q, dy: grad(x, q, dy, smoothing, z),
        3 * normals(shape)[0],
        labels,
    )


@combinations("case, softcap, bias", SMOOTHED, [None, 2.5], [True, False], quick=5)
def test_linear_softmax_cross_entropy(case, softcap, bias):
    shape, smoothing, z = case
    classes = shape[-1]
    x, weight, b = normals((*shape[:-1], 3), (3, classes), (classes,) if bias else None)
    labels = RNG(3).integers(-1, classes, shape[:-1])  # -1 is ignored
    constants = smoothing, z
    check(
        lambda x, w, b: ops.linear_softmax_cross_entropy(
            x, w, labels, b, *constants, softcap, -1
        ),
        lambda x, w, b: naive.linear_softmax_cross_entropy(
            x, w, b, labels, softcap, -1, *constants
        ),
        lambda x, w, b, dy: naive.linear_softmax_cross_entropy_grad(
            x, w, b, labels, softcap, -1, dy, *constants
        ),
        *(x, weight, b),
    )


@pytest.mark.parametrize(("shape", "eps"), GUARDED, ids=str)
def test_cross_entropy_of_integers(shape, eps):
    labels = RNG(3).integers(0, shape[-1], shape[:-1])
    check(
        lambda p: ops.cross_entropy(p, labels, eps),
        lambda p: naive.cross_entropy(p, labels, eps),
        lambda p, dy: naive.cross_entropy_grad(p, labels, dy, eps)[0],
        RNG(4).random(shape) + 0.01,
    )


@pytest.mark.parametrize(("shape", "eps"), GUARDED, ids=str)
def test_cross_entropy_of_probabilities(shape, eps):
    check(
        lambda p, q: ops.cross_entropy(p, q, eps),
        lambda p, q: naive.cross_entropy(p, q, eps),
        lambda p, q, dy: naive.cross_entropy_grad(p, q, dy, eps),
        RNG(4).random(shape) + 0.01,
        RNG(5).random(shape),
    )


@pytest.mark.parametrize("shape", [(), (4,), (3, 2), (0, 2)], ids=str)
def test_mse(shape):
    check(ops.mse, naive.mse, naive.mse_grad, *map(np.asarray, normals(shape, shape)))
