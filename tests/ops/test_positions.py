"""Rows that are not there, narrow integers, and positions far out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import ops
from funcnn.kernels._angles import geometric
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


def test_rope_of_interleaved_pairs_is_that_of_halves_in_another_order():
    x = normal(1, 5, 2, 6)
    order = np.array([0, 2, 4, 1, 3, 5])
    halves = ops.rope(x[..., order])
    close(ops.rope(x, interleaved=True)[..., order], halves, 1e-15)


def test_rope_scaled_by_a_factor_is_rope_at_positions_between():
    x = normal(1, 4, 1, 6)
    slow = ops.rope(x, np.array([0, 3, 6, 12]), scaling=3.0)
    close(slow, ops.rope(x, np.array([0, 1, 2, 4])), 1e-15)


def test_scaled_frequencies():
    plain = 1e4 ** (-np.arange(32) / 32)
    ntk = geometric(32, 1e4, ("ntk", 8.0))
    assert ntk[0] == 1
    np.testing.assert_allclose(ntk[-1], plain[-1] / 8, rtol=1e-12)
    llama = geometric(32, 1e4, ("llama3", 8.0, 1.0, 4.0, 1000.0))
    turns = 1000 * plain / (2 * np.pi)
    np.testing.assert_allclose(llama[turns > 4], plain[turns > 4], rtol=1e-12)
    np.testing.assert_allclose(llama[turns < 1], plain[turns < 1] / 8, rtol=1e-12)
    between = (turns > 1) & (turns < 4)
    assert between.any()
    assert (np.diff(llama) < 0).all()


@pytest.mark.parametrize(
    "options, kind, message",
    [
        ({"features": 3}, ValueError, "needs an even number of features of at most 6 to t"),
        ({"features": 8}, ValueError, "needs an even number of features of at most 6 to t"),
        ({"scaling": 0.5}, ValueError, "needs scaling of at least 1.0; got 0.5."),
        ({"scaling": ("yarn", 2.0)}, ValueError, "needs a scaling of a factor, "),
        ({"scaling": ("llama3", 8.0)}, ValueError, "needs a scaling of a factor, "),
        (
            {"scaling": ("llama3", 8.0, 4.0, 1.0, 9)},
            ValueError,
            "needs a scaling whose low is below its ",
        ),
        ({"interleaved": 1}, TypeError, "needs a bool for interleaved; got 1."),
    ],
)
def test_wrong_rotations(options, kind, message):
    with pytest.raises(kind, match=f"^rope {message}"):
        ops.rope(normal(1, 2, 1, 6), **options)
