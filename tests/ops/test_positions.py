"""Rows that are not there, narrow integers, and positions far out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import ops
from tests.support.hard_points import (
    DTYPES,
    ROUNDING,
    close,
    normal,
    value_and_pullback,
    wide,
)

# Embeddings


@DTYPES
def test_embed_out_of_range_is_nan_and_pays_no_row(dtype):
    table = jnp.asarray(normal(4, 2), dtype)
    ids = jnp.array([[0, -1, 4], [3, -(2**31), 2**31 - 1]])
    dy = jnp.arange(1, 13).reshape(2, 3, 2)
    y, (dtable,) = value_and_pullback(lambda table: ops.embed(table, ids), (table,), dy)
    assert y.dtype == dtable.dtype == dtype
    assert (np.isnan(wide(y)).all(-1) == [[False, True, True]] * 2).all()
    close(y[:, 0], wide(table)[[0, 3]], 0)
    close(dtable, [[1, 2], [0, 0], [0, 0], [7, 8]], 0)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint32, np.int64])
def test_ids_narrower_than_the_number_of_rows(dtype):
    table, ids = normal(1000, 2), np.array([3, 100, 3])
    dy = normal(3, 2)
    y, (dtable,) = value_and_pullback(
        lambda table: ops.embed(table, ids.astype(dtype)), (table,), dy
    )
    close(y, table[ids], 0)
    expected = np.zeros((1000, 2))
    np.add.at(expected, ids, dy)
    close(dtable, expected, 1e-14)


def test_rope_is_accurate_far_out():
    """In float32, against angles in float64: a product in float32 is off by 0.004.

    Four roundings of an angle below pi make 7e-7, and points lie within the square root
    of 2.
    """
    for positions in ([0, 1, 99_999, 100_000], [-100_000, 2**24 + 1, 2**31 - 1, -(2**31)]):
        positions = np.array(positions, np.int32)
        x = np.random.default_rng(0).uniform(-1, 1, (1, 4, 2, 128)).astype(np.float32)
        turns = np.exp(1j * positions[:, None, None] * 1e4 ** (-np.arange(64) / 64))
        y, pull = jax.vjp(functools.partial(ops.rope, positions=positions), x)
        for found, turn in ((y, turns), (pull(x)[0], turns.conj())):
            z = turn * (x[..., :64] + 1j * x[..., 64:])
            close(found, np.concatenate([z.real, z.imag], -1), 0, 1e-6)


@DTYPES
def test_rope_depends_on_distances_and_its_pullback_undoes_it(dtype):
    q, k = (jnp.asarray(normal(1, 5, 1, 8), dtype) for _ in range(2))
    near, far = jnp.arange(5), 1000 + jnp.arange(5)
    tolerance = 20 * ROUNDING[dtype]

    def scores(positions):
        a, b = (wide(ops.rope(x, positions)) for x in (q, k))
        return np.einsum("bthd,bshd->ts", a, b)

    close(scores(far), scores(near), 0, tolerance)
    y, (dx,) = value_and_pullback(ops.rope, (q,), ops.rope(q))
    assert y.dtype == dx.dtype == dtype
    close(dx, q, 0, tolerance)
    close(y[:, 0], q[:, 0], 0)
