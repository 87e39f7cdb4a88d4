"""Products and embeddings against loops over every index, in float64."""

import numpy as np
import pytest

from funcnn import ops
from tests.support import naive
from tests.support.against_loops import RNG, check, check_bilinear, normals
from tests.support.combinations import combinations


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [(), (1,), (5,), (3, 4), (2, 1, 3), (0,), (2, 0)])
def test_dense(rows, bias):
    x, weight, b = normals((*rows, 5), (5, 3), (3,) if bias else None)
    check(ops.dense, naive.dense, naive.dense_grad, x, weight, b)


@pytest.mark.parametrize(("m", "n"), [(1, 1), (1, 7), (7, 1), (0, 3)])
def test_dense_of_odd_widths(m, n):
    x, weight, b = normals((4, m), (m, n), (n,))
    check(ops.dense, naive.dense, naive.dense_grad, x, weight, b)


MATMUL = [
    ((4,), (4,)),
    ((4,), (4, 3)),
    ((2, 4), (4,)),
    ((2, 4), (4, 3)),
    ((1, 4), (4, 1)),
    ((3, 1), (1, 5)),
    ((5, 2, 4), (5, 4, 3)),
    ((5, 2, 4), (4, 3)),
    ((2, 4), (5, 4, 3)),
    ((1, 2, 4), (5, 4, 3)),
    ((5, 2, 4), (1, 4, 3)),
    ((2, 1, 2, 4), (3, 4, 2)),
    ((3, 2, 4), (2, 1, 4, 2)),
    ((2, 3, 1, 4), (2, 1, 4, 1)),
    ((4,), (5, 4, 3)),
    ((5, 2, 4), (4,)),
    ((0, 2, 4), (0, 4, 3)),
    ((0, 4), (4, 3)),
    ((1, 2, 4), (0, 4, 3)),
    ((2, 0), (0, 3)),
]


@pytest.mark.parametrize(("a", "b"), MATMUL, ids=str)
def test_matmul(a, b):
    a, b = normals(a, b)
    check_bilinear(ops.matmul, naive.matmul_terms(a, b), a, b)


DOT = [
    ((), ()),
    ((), (3,)),
    ((2, 3), ()),
    ((4,), (4,)),
    ((4,), (4, 3)),
    ((2, 4), (4,)),
    ((2, 4), (4, 3)),
    ((2, 3, 4), (4,)),
    ((4,), (2, 4, 3)),
    ((2, 3, 4), (5, 4, 2)),
    ((0, 4), (4, 3)),
    ((2, 0), (0, 3)),
]


@pytest.mark.parametrize(("a", "b"), DOT, ids=str)
def test_dot(a, b):
    a, b = normals(a, b)
    check_bilinear(ops.dot, naive.dot_terms(a, b), a, b)


TENSORDOT = [
    ((2, 3), (4,), 0),
    ((2, 3), (3, 4), 1),
    ((2, 3, 4), (3, 4, 5), 2),
    ((2, 3), (2, 3), 2),
    ((2, 3, 4), (4, 5, 2), ((0, 2), (2, 0))),
    ((2, 3, 4), (4, 5, 2), ((2, 0), (0, 2))),
    ((2, 3, 4), (4, 5, 2), ((-1, -3), (0, -1))),
    ((2, 3, 4), (5, 3), (1, 1)),
    ((2, 3, 4), (5, 3), (-2, -1)),
    ((2, 3, 4), (5, 3), ((1,), (1,))),
    ((2, 3, 4), (2, 5), ((0,), (0,))),
    ((2, 3), (4, 2), ((), ())),
    ((3, 2, 4), (4, 3, 2), ((0, 1, 2), (1, 2, 0))),
    ((0, 3), (3, 4), 1),
    ((2, 0), (0, 4), 1),
]


@pytest.mark.parametrize(("a", "b", "axes"), TENSORDOT, ids=str)
def test_tensordot(a, b, axes):
    a, b = normals(a, b)

    def op(a, b):
        return ops.tensordot(a, b, axes)

    check_bilinear(op, naive.tensordot_terms(a, b, axes), a, b)


@combinations(
    "table, ids",
    [(5, 3), (1, 2), (4, 1), (40, 2), (3, 0)],
    [(), (7,), (3, 4), (0, 2)],
    quick=3,
)
def test_embed(table, ids):
    ids = np.asarray(RNG(3).integers(0, table[0], ids))
    check(
        lambda table: ops.embed(table, ids),
        lambda table: naive.embed(table, ids),
        lambda table, dy: naive.embed_grad(table, ids, dy),
        *normals(table),
    )
