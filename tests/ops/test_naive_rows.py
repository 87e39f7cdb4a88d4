"""Norms and softmaxes against loops over every index, in float64."""

import jax
import numpy as np

from funcnn import ops
from tests.support import naive
from tests.support.against_loops import check, normals
from tests.support.combinations import combinations

NORMALIZED = [(5,), (1, 2), (4, 3), (2, 3, 7), (3, 1), (0, 4)]


@combinations("shape, eps", NORMALIZED, [1e-6, 0.3], quick=5)
def test_layer_norm(shape, eps):
    width = shape[-1:]
    check(
        lambda *arrays: ops.layer_norm(*arrays, eps),
        lambda *arrays: naive.layer_norm(*arrays, eps=eps),
        lambda *arrays: naive.layer_norm_grad(*arrays, eps=eps),
        *normals(shape, width, width),
    )


@combinations("shape, eps", NORMALIZED, [1e-6, 0.3], quick=5)
def test_rms_norm(shape, eps):
    check(
        lambda *arrays: ops.rms_norm(*arrays, eps),
        lambda *arrays: naive.rms_norm(*arrays, eps=eps),
        lambda *arrays: naive.rms_norm_grad(*arrays, eps=eps),
        *normals(shape, shape[-1:]),
    )


@combinations(
    "shape, groups",
    [(2, 5, 4), (1, 3, 2, 4), (2, 2, 1, 3, 4), (0, 2, 4)],
    [1, 2, 4],
    quick=5,
)
def test_group_norm(shape, groups):
    check(
        lambda *arrays: ops.group_norm(*arrays, groups, 0.3),
        lambda *arrays: naive.group_norm(*arrays, groups=groups, eps=0.3),
        lambda *arrays: naive.group_norm_grad(*arrays, groups=groups, eps=0.3),
        *normals(shape, (4,), (4,)),
    )


@combinations(
    "shape, eps",
    [(5, 3), (1, 4), (2, 3, 2), (2, 2, 3, 2), (7, 1)],
    [1e-6, 0.3],
    quick=3,
)
def test_batch_norm(shape, eps):
    def op(*arrays):
        outputs = ops.batch_norm(*arrays, eps)
        return jax.numpy.concatenate([a.ravel() for a in outputs])

    check(
        op,
        lambda *arrays: naive.batch_norm(*arrays, eps=eps),
        lambda *arrays: naive.batch_norm_grad(*arrays, eps=eps),
        *normals(shape, shape[-1:], shape[-1:]),
    )


SOFTMAX = [
    ((5,), -1),
    ((1,), 0),
    ((3, 4), -1),
    ((3, 4), 0),
    ((2, 3, 4), 1),
    ((2, 3, 4), -3),
    ((3, 1), -1),
    ((0, 4), -1),
    ((4, 0), 0),
]


@combinations(
    "name, case, scale", ["softmax", "log_softmax"], SOFTMAX, [1.0, 30.0], quick=5
)
def test_softmaxes(name, case, scale):
    shape, axis = case
    op, forward = getattr(ops, name), getattr(naive, name)
    backward = getattr(naive, f"{name}_grad")

    def last(a):
        return np.moveaxis(a, axis, -1)

    check(
        lambda x: op(x, axis),
        lambda x: np.moveaxis(forward(last(x)), -1, axis),
        lambda x, dy: np.moveaxis(backward(last(x), last(dy)), -1, axis),
        scale * normals(shape)[0],
    )
