"""Rope and attention against loops over every index, in float64."""

import numpy as np

from funcnn import ops
from tests.support import naive
from tests.support.against_loops import RNG, check, normals
from tests.support.combinations import combinations


@combinations(
    "width, positions, base", [2, 6, 8], [None, (3,), (2, 3)], [10000.0, 50.0], quick=5
)
def test_rope(width, positions, base):
    given = None if positions is None else RNG(3).integers(-500, 500, positions)
    numbers = np.arange(3) if given is None else given
    check(
        lambda x: ops.rope(x, given, base),
        lambda x: naive.rope(x, numbers, base),
        lambda x, dy: naive.rope(dy, numbers, base, -1),
        *normals((2, 3, 2, width)),
    )


@combinations(
    "lengths, heads, causal, cap",
    [(1, 1), (3, 5), (4, 2), (0, 2), (2, 0)],
    [(2, 2), (4, 2), (3, 1)],
    [False, True],
    [None, 1.5],
    quick=7,
)
def test_attention(lengths, heads, causal, cap):
    (t, s), (h, k) = lengths, heads
    sees = RNG(3).random((2, h, t, s)) < 0.7
    visible = sees & (np.arange(s) <= np.arange(t)[:, None]) if causal else sees

    def loops(q, k, v, bias, dy=None):
        dy = np.zeros((*q.shape[:3], 2)) if dy is None else dy
        return naive.attention(q, k, v, dy, visible, bias, 0.5, cap)

    check(
        lambda q, k, v, bias: ops.attention(q, k, v, sees, bias, causal, 0.5, softcap=cap),
        lambda *args: loops(*args)[0],
        lambda *args: loops(*args)[1],
        *normals((2, t, h, 3), (2, s, k, 3), (2, s, k, 2), (2, h, t, s)),
    )
