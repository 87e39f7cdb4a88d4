"""What a query does not see reaches neither what it gives nor any gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import ops
from funcnn.kernels.attention import _plan

T, S = 6, 7
SHOWN = np.arange(S) != 4
PADDED = {
    "mask": {"mask": SHOWN},
    "mask of all axes": {"mask": np.broadcast_to(SHOWN, (2, 4, T, S))},
    "bias": {"bias": np.where(SHOWN, 0.5, -np.inf)},
    "mask, causal": {"mask": SHOWN, "causal": True},
    "mask, softcap": {"mask": SHOWN, "softcap": 2.0},
}


@pytest.fixture(params=["whole", "in blocks", "in strips"])
def formulation(request, monkeypatch):
    if request.param == "in blocks":
        monkeypatch.setattr(_plan, "BLOCK", 8)
        monkeypatch.setattr(_plan, "SHORTEST", 2)
    if request.param == "in strips":
        monkeypatch.setattr(_plan, "NARROWEST", 2)


def arrays(length=T):
    rng = np.random.default_rng(0)
    shapes = (2, length, 4, 3), (2, S, 2, 3), (2, S, 2, 3), (2, length, 4, 3)
    return [rng.standard_normal(shape) for shape in shapes]


def compiled(options):
    """A function that gives what attention gives of some arrays, and all cotangents."""

    def f(q, k, v, bias):
        return ops.attention(q, k, v, **(options | {"bias": bias}))

    @jax.jit
    def both(q, k, v, dy):
        y, pull = jax.vjp(f, q, k, v, options.get("bias"))
        return y, pull(dy)

    return lambda *arrays: [np.asarray(a) for a in jax.tree.leaves(both(*arrays))]


SOME = {"mask", "bias", "mask, causal"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in SOME else pytest.mark.exhaustive) for n in PADDED],
)
def test_a_hidden_key_may_hold_anything(name, formulation):
    q, k, v, dy = arrays()
    found = compiled(PADDED[name])
    want = found(q, k, v, dy)
    assert all(np.isfinite(a).all() for a in want)
    for bad in (np.nan, np.inf, -np.inf, np.finfo(float).max):
        k[:, 4], v[:, 4] = bad, bad
        for mine, clean in zip(found(q, k, v, dy), want, strict=True):
            np.testing.assert_allclose(mine, clean, rtol=1e-12, atol=1e-12)
        assert not found(q, k, v, dy)[2][:, 4].any()


@pytest.mark.parametrize("options", [{"causal": True}, {"causal": True, "window": 1}])
def test_what_comes_later_does_not_reach_what_comes_before(options, formulation):
    q, k, v, dy = arrays()
    found = compiled(options)
    want = found(q, k, v, dy)
    k[:, 3, :, 0], v[:, 3, :, 1] = np.nan, np.inf
    y, dq, dk, dv = found(q, k, v, dy)
    sees = (np.arange(T) >= 3) & (np.arange(T) <= 3 + options.get("window", T))
    for mine, clean in zip((y, dq), want[:2], strict=True):
        np.testing.assert_allclose(mine[:, ~sees], clean[:, ~sees], rtol=1e-12, atol=1e-12)
        assert not np.isfinite(mine[:, sees]).any(), "and it reaches what sees it"
    untouched = np.arange(S) > 3 + 1 if "window" in options else np.arange(S) == S - 1
    for mine, clean in zip((dk, dv), want[2:], strict=True):
        np.testing.assert_allclose(
            mine[:, untouched], clean[:, untouched], rtol=1e-12, atol=1e-12
        )


def test_a_query_that_sees_nothing_may_hold_anything(formulation):
    q, k, v, dy = arrays()
    options = {"mask": np.arange(T)[:, None] != 2}
    found = compiled(options)
    want = found(q, k, v, dy)
    q[:, 2], dy[:, 2] = np.nan, np.nan
    for mine, clean in zip(found(q, k, v, dy), want, strict=True):
        np.testing.assert_allclose(mine, clean, rtol=1e-12, atol=1e-12)


def test_each_example_by_vmap_as_together():
    q, k, v, dy = arrays()
    k[0, 4] = v[0, 4] = np.nan
    mask = jnp.asarray(SHOWN)

    def loss(q, k, v, dy):
        return (ops.attention(q[None], k[None], v[None], mask) * dy).sum()

    one = jax.jit(jax.vmap(jax.grad(loss, (0, 1, 2))))
    for mine, other in zip(
        one(q, k, v, dy), compiled({"mask": SHOWN})(q, k, v, dy)[1:], strict=True
    ):
        np.testing.assert_allclose(mine, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_garbage_in_few_bits(dtype):
    q, k, v, dy = (jnp.asarray(a, dtype) for a in arrays())
    options = {"mask": SHOWN}
    found = compiled(options)
    want = found(q, k, v, dy)
    bad = jnp.asarray(np.nan, dtype)
    got = found(q, k.at[:, 4].set(bad), v.at[:, 4].set(jnp.inf), dy)
    for mine, clean in zip(got, want, strict=True):
        assert np.isfinite(mine).all()
        np.testing.assert_allclose(mine, clean, rtol=1e-2, atol=1e-2)


def test_a_key_that_is_nan_and_seen_is_not_swallowed():
    q, k, v, dy = arrays()
    v[0, 1, 0] = np.nan
    for options in ({}, {"mask": SHOWN}, {"causal": True}):
        y, dq, *_ = compiled(options)(q, k, v, dy)
        assert np.isnan(y[0, 1:, :2]).any(-1).all()
        assert np.isnan(dq[0, 1:, :2]).any(-1).all()


@pytest.mark.parametrize("shape", [(2, 6, 7), (2, 1, 7), (4, 6, 7), (1, 6, 7)])
@pytest.mark.parametrize("heads", [2, 4])
def test_a_mask_of_three_axes_is_one_per_head_or_refused(shape, heads):
    q, k, v, _ = arrays()
    q, mask = q[:, :, :heads], np.ones(shape, bool)
    mask[..., 3] = False
    if shape[0] == 2:  # examples
        message = rf"needs a mask of three axes .*\({heads}, 6, 7\), and .*mask\[None\]"
        with pytest.raises(ValueError, match=message):
            ops.attention(q, k, v, mask)
        mask = mask[:, None]
    elif shape[0] not in (1, heads):
        with pytest.raises(ValueError, match="mask that broadcasts"):
            ops.attention(q, k, v, mask)
        return
    assert np.isfinite(ops.attention(q, k, v, mask)).all()


def test_a_mask_of_keys_says_how_it_is_given():
    q, k, v, _ = arrays()
    message = r"mask of two axes .*\(6, 7\), and \(2, 7\) .*mask\[:, None, None\]"
    with pytest.raises(ValueError, match=message):
        ops.attention(q, k, v, np.ones((2, S), bool))
