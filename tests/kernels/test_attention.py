"""Attention in blocks is attention, and its memory grows with the length alone."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import ops, verify
from funcnn.kernels import attention as _attention
from funcnn.kernels.attention import _plan
from funcnn.ops._attention import attention_reference
from tests.support import claims

RNG = np.random.default_rng
MODES = {
    "plain": {},
    "causal": {"causal": True},
    "window": {"window": 5},
    "sliding window": {"causal": True, "window": (20, None)},
    "forwards": {"window": (0, None)},
    "softcap": {"scale": 2.0, "softcap": 1.5},
}


@pytest.fixture
def blocks_of(monkeypatch):
    """Ask for blocks of some scores, however few there are."""

    def ask(scores, shortest):
        monkeypatch.setattr(_plan, "BLOCK", scores)
        monkeypatch.setattr(_plan, "SHORTEST", shortest)

    return ask


def normals(*shapes):
    rng = RNG(0)
    return [rng.standard_normal(shape) for shape in shapes]


def agree(f, g, args, rtol):
    """The value and all cotangents of floating-point arrays, to a share of the largest."""

    @jax.jit
    def both(args):
        y, pull = jax.vjp(f, *args)
        z, pull_too = jax.vjp(g, *args)
        dy = jnp.cos(jnp.arange(y.size)).reshape(y.shape).astype(y.dtype)
        return (y, *pull(dy)), (z, *pull_too(dy))

    mine, other = both(args)
    for a, b in zip(mine, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * max(1, np.abs(b).max()))


TELLING = (
    "mask, one row empty",
    "bias a head and key, causal",
    "grouped",
    "sliding window",
    "everything",
)


def test_values_and_cotangents_in_blocks(blocks_of):
    blocks_of(8, 1)
    claims.hold("attention", *TELLING)


@pytest.mark.exhaustive
@pytest.mark.parametrize("scores, shortest", [(8, 1), (24, 2)])
def test_all_claims_hold_in_blocks(scores, shortest, blocks_of):
    blocks_of(scores, shortest)
    report = verify.check_ops(["attention"])
    assert report.ok, str(report)


# a mode of each kind at each kind of length
QUICK = {
    ((1, 1), "causal"),
    ((37, 61), "plain"),
    ((37, 61), "sliding window"),
    ((61, 37), "window"),
    ((61, 37), "softcap"),
    ((61, 37), "forwards"),
    ((299, 300), "causal"),
}
LENGTHS = [
    pytest.param(
        lengths,
        mode,
        id=f"{lengths}, {mode}",
        marks=() if (lengths, mode) in QUICK else pytest.mark.exhaustive,
    )
    for lengths in [(1, 1), (37, 61), (61, 37), (299, 300)]
    for mode in MODES
]


@pytest.mark.parametrize("lengths, mode", LENGTHS)
def test_lengths_that_no_block_divides(lengths, mode, blocks_of):
    blocks_of(2 * 4 * 32 * 16, 8)
    t, s = lengths
    agree(
        lambda q, k, v: ops.attention(q, k, v, **MODES[mode]),
        lambda q, k, v: attention_reference(q, k, v, **MODES[mode]),
        normals((2, t, 4, 8), (2, s, 2, 8), (2, s, 2, 5)),
        1e-10,
    )


MASKS = [(2, 4, 13, 11), (2, 1, 1, 11), (1, 4, 13, 1), (13, 11), (11,), ()]


BROADCAST = [
    pytest.param(
        scores,
        shape,
        id=f"{scores}, {shape}",
        marks=() if (scores == 200) == (i % 3 > 0) else pytest.mark.exhaustive,
    )
    for scores in [2**22, 200]
    for i, shape in enumerate(MASKS)
]


@pytest.mark.parametrize("scores, shape", BROADCAST)
def test_masks_and_biases_of_any_shape_that_broadcasts(shape, scores, blocks_of):
    blocks_of(scores, 2)
    mask = jnp.asarray(RNG(1).random(shape) < 0.6)
    q, k, v, bias = normals((2, 13, 4, 3), (2, 11, 2, 3), (2, 11, 2, 3), shape)
    agree(
        lambda q, k, v, bias: ops.attention(q, k, v, mask, bias),
        lambda q, k, v, bias: attention_reference(q, k, v, mask, bias),
        (q, k, v, bias),
        1e-10,
    )


@pytest.mark.parametrize("scores", [2**22, 64])
def test_a_query_that_sees_nothing_gives_zeros(scores, blocks_of):
    blocks_of(scores, 2)
    q, k, v = normals((1, 8, 2, 3), (1, 8, 2, 3), (1, 8, 2, 3))
    mask = jnp.ones((8, 8), bool).at[3].set(False)
    minus = jnp.where(mask, 0.0, -jnp.inf)

    @jax.jit
    def both(*arrays):
        y, pull = jax.vjp(lambda *a: ops.attention(*a, mask), *arrays)
        return y, pull(jnp.ones_like(y)), ops.attention(*arrays, bias=minus)

    y, found, other = both(q, k, v)
    assert not y[:, 3].any()
    assert np.isfinite(y).all()
    assert not found[0][:, 3].any()
    assert all(np.isfinite(a).all() for a in found)
    np.testing.assert_array_equal(y, other)


def test_values_and_cotangents_in_strips(monkeypatch):
    monkeypatch.setattr(_plan, "NARROWEST", 1)
    claims.hold("attention", "bias a head and key, causal", "sliding window", "everything")


@pytest.mark.exhaustive
def test_all_claims_hold_in_strips(monkeypatch):
    monkeypatch.setattr(_plan, "NARROWEST", 1)
    report = verify.check_ops(["attention"])
    assert report.ok, str(report)


OPTIONS = [*MODES.values(), {"window": (3, 0)}, {"window": (0, 3)}, {"window": 0}]


@pytest.mark.parametrize(
    "lengths, options",
    [
        pytest.param((13, 29), OPTIONS[1::3], id="more keys, some options"),
        pytest.param((30, 9), OPTIONS[::3], id="more queries, other options"),
        pytest.param((13, 29), OPTIONS, id="more keys", marks=pytest.mark.exhaustive),
        pytest.param((30, 9), OPTIONS, id="more queries", marks=pytest.mark.exhaustive),
    ],
)
def test_strips_are_the_same_attention(lengths, options, monkeypatch):
    monkeypatch.setattr(_plan, "NARROWEST", 2)
    t, s = lengths
    mask = jnp.asarray(RNG(1).random((2, 1, t, s)) < 0.8)
    arrays = normals((2, t, 4, 3), (2, s, 2, 3), (2, s, 2, 3), (4, 1, s))

    def all_of(op):
        return lambda *a: jnp.stack([op(*a[:3], mask, a[3], **o) for o in options])

    agree(all_of(ops.attention), all_of(attention_reference), arrays, 1e-10)


def test_strips_leave_out_what_they_do_not_see():
    q = jnp.zeros((1, 1, 1, 256, 8))
    arrays = q, q[:, :, 0], q[:, :, 0], None, None

    def keys(*window):
        p = _attention.plan(*arrays[:2], 1.0, window, None)
        return [(s.keys, s.plan.window) for s in _plan.strips(p, arrays)]

    assert keys(None, None) == [((0, 256), (None, None))]
    assert keys(None, 0) == [((0, n), (None, n - 64)) for n in (64, 128, 192, 256)]
    assert keys(10, 0)[1] == ((54, 128), (0, 10))
    assert keys(300, 0) == keys(None, 0)


def test_rows_that_pad_a_block_add_nothing(blocks_of):
    """However large a bias that all rows share."""
    blocks_of(4 * 11, 4)
    q, k, v = normals((1, 13, 1, 3), (1, 11, 1, 3), (1, 11, 1, 3))
    bias = jnp.full((1, 11), 1e4)

    @jax.jit
    def pulled(*arrays):
        return jax.vjp(lambda *a: ops.attention(*a[:3], bias=a[3]), *arrays)[1](arrays[0])

    found = pulled(q, k, v, bias)
    assert all(np.isfinite(a).all() for a in found)


def test_blocks_that_nothing_sees_are_passed_over():
    q = jnp.zeros((1, 1, 1, 4096, 8))
    p = _attention.plan(q, q[:, :, 0], 1.0, (100, 0), None)
    p = p._replace(rows=256, columns=512)
    seen = [tuple(map(int, p.seen(i))) for i in range(16)]
    for i, (first, end) in enumerate(seen):
        lowest, highest = max(256 * i - 100, 0), 256 * i + 255
        assert (first, end) == (lowest // 512, highest // 512 + 1)


@pytest.mark.parametrize("causal", [False, True])
def test_memory_grows_with_the_length(causal):
    def held(length):
        with jax.enable_x64(False):
            q = jnp.ones((1, length, 2, 16), jnp.float32)
            found = verify.residuals(lambda *a: ops.attention(*a, causal=causal), q, q, q)
        return found.total

    assert held(4096) == 4 * held(1024)


def test_long_sequences_hold_no_matrix_of_scores():
    length, heads = 8192, 2
    q = jax.ShapeDtypeStruct((1, length, heads, 16), np.float32)
    step = jax.jit(jax.grad(lambda *a: ops.attention(*a, causal=True).sum(), (0, 1, 2)))
    memory = step.lower(q, q, q).compile().memory_analysis().temp_size_in_bytes
    assert memory < 4 * heads * length**2 / 5


def test_plans_keep_to_their_size():
    for b, h, t, s in itertools.product((1, 8), (1, 16), (1, 77, 5000), (1, 300, 9999)):
        q, k = jnp.zeros((b, h, 1, t, 2)), jnp.zeros((b, h, s, 2))
        p = _attention.plan(q, k, 1.0, (None, None), None)
        assert p.rows <= t
        assert p.columns <= s
        if b * h * t * s <= _plan.BLOCK:
            assert p.blocks == (1, 1)
        else:
            assert b * h * p.rows * p.columns <= 1.1 * _plan.BLOCK


@pytest.mark.parametrize(
    "scores, causal",
    [
        (2**22, False),
        (300, True),
        pytest.param(2**22, True, marks=pytest.mark.exhaustive),
        pytest.param(300, False, marks=pytest.mark.exhaustive),
    ],
)
def test_as_torch(scores, causal, blocks_of):
    torch = pytest.importorskip("torch")
    blocks_of(scores, 4)
    arrays = normals((2, 9, 4, 8), (2, 9, 4, 8), (2, 9, 4, 8), (2, 9, 4, 8))
    tensors = [torch.tensor(a, requires_grad=True) for a in arrays[:3]]
    theirs = torch.nn.functional.scaled_dot_product_attention(
        *(a.transpose(1, 2) for a in tensors), is_causal=causal
    ).transpose(1, 2)
    theirs.backward(torch.tensor(arrays[3]))

    @jax.jit
    def both(q, k, v, dy):
        y, pull = jax.vjp(lambda *a: ops.attention(*a, causal=causal), q, k, v)
        return y, pull(dy)

    y, found = both(*arrays)
    np.testing.assert_allclose(y, theirs.detach(), rtol=1e-12, atol=1e-12)
    for mine, tensor in zip(found, tensors, strict=True):
        np.testing.assert_allclose(mine, tensor.grad, rtol=1e-10, atol=1e-12)
