"""Caches that roll: no longer than a window needs, for texts of any length."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn.generation import generate
from funcnn.layers import MultiHeadAttention, Transformer
from tests.support.attention import params_and_input
from tests.support.layers import KEY, close, fails

LAYER = MultiHeadAttention(2, causal=True, window=3, key_heads=1, rope=True)


def of(positions):
    """An input of so many."""
    return jax.ShapeDtypeStruct((2, positions, 8), jnp.float64)


def fed(apply, params, x, length, chunks):
    """What is returned for `x` in chunks, and the last cache."""
    found, cache, start = [], length, 0
    for n in chunks:
        y, cache = apply(params, x[:, start : start + n], cache=cache)
        found.append(y)
        start += n
    return jnp.concatenate(found, 1), cache


CHUNKS = [(4, *(1,) * 7), (6, 2, 2, 1), (2, 9), (11,)]


@pytest.mark.parametrize("length", [4, 7])
def test_any_chunks_are_the_whole(length):
    params, x = params_and_input(LAYER, of(11))

    @jax.jit
    def compute(params, x):
        want, whole = LAYER.apply(params, x, cache=11)
        return want, whole, [fed(LAYER.apply, params, x, length, c) for c in CHUNKS]

    want, whole, found = compute(params, x)
    for y, cache in found:
        close(y, want)
        assert cache.position == 11
        for got, every in ((cache.keys, whole.keys), (cache.values, whole.values)):
            assert got.shape == (2, length, 1, 4)
            for p in range(11 - length, 11):
                close(got[:, p % length], every[:, p])


def test_one_program_for_all_positions():
    params, x = params_and_input(LAYER, of(14))
    step = jax.jit(lambda p, x, cache: LAYER.apply(p, x, cache=cache))
    y, cache = jax.jit(partial(LAYER.apply, cache=4))(params, x[:, :1])
    found = [y]
    for i in range(1, 14):
        y, cache = step(params, x[:, i : i + 1], cache)
        found.append(y)
    close(jnp.concatenate(found, 1), jax.jit(LAYER.apply)(params, x))
    assert step._cache_size() == 1


def test_a_mask_is_of_places():
    params, x = params_and_input(LAYER, of(7))
    hidden = jnp.arange(7) != 4
    at_places = jnp.arange(5) != 4 % 5

    @jax.jit
    def both(params, x):
        want = LAYER.apply(params, x, mask=hidden[None])[:, 6:]
        _, cache = LAYER.apply(params, x[:, :6], cache=5)
        return want, LAYER.apply(params, x[:, 6:], cache=cache, mask=at_places[None]), cache

    want, (got, _), cache = both(params, x)
    close(got, want)
    far = "needs a cache of length 6 or more, or fewer positions at once, for a mask"
    for options in ({"mask": at_places[None]}, {"key_lengths": np.array([5, 5])}):
        fails(ValueError, far, LAYER.apply, params, x[:, :3], cache=cache, **options)


def test_a_cache_too_short_for_the_window_runs_out():
    params, x = params_and_input(LAYER, of(7))
    _, cache = jax.jit(partial(LAYER.apply, cache=3))(params, x[:, :3])
    message = "needs a cache of length 4 or more for 3 positions and 1 further"
    fails(ValueError, message, LAYER.apply, params, x[:, 3:4], cache=cache)
    fails(ValueError, "needs a cache of length 7", LAYER.apply, params, x, cache=3)
    late = jax.jit(LAYER.apply)(params, x[:, 3:4], cache=cache)[0]
    assert np.isnan(late).all()


def model_and_params(**options):
    model = Transformer(11, 8, 2, 2, **options)
    rng = np.random.default_rng(4)
    shapes = jax.eval_shape(model.init, KEY, jnp.zeros((1, 2), int))
    params = jax.tree.map(lambda a: jnp.asarray(rng.standard_normal(a.shape)), shapes)
    return model, params


PROMPT = np.array([[3, 1, 7, 2], [1, 5, 9, 2], [6, 0, 0, 4]])


@pytest.mark.parametrize("lengths", [None, np.array([2, 4, 1])], ids=["alike", "different"])
def test_a_text_longer_than_the_cache(lengths):
    model, params = model_and_params(window=3, tied=False)

    @jax.jit
    def continued(params):
        options = {"steps": 9, "temperature": 2.0, "lengths": lengths}
        whole = generate(model, params, PROMPT, KEY, **options)
        return whole, generate(model, params, PROMPT, KEY, cache_length=4, **options)

    want, got = continued(params)
    assert len(set(np.asarray(want)[:, 4:].ravel())) > 3, "a text of too few words to tell"
    np.testing.assert_array_equal(got, want)


def test_wrong_lengths_of_caches():
    options = {"steps": 9, "temperature": 0}
    model, params = model_and_params(window=3, tied=False)

    def wrong(kind, message, model=model, params=params, **more):
        fails(kind, message, generate, model, params, PROMPT, None, **options, **more)

    wrong(TypeError, "generate needs an integer cache_length", cache_length="4")
    wrong(ValueError, "generate needs cache_length of at least 1", cache_length=0)
    wrong(ValueError, "needs a cache of length 12 or more for x of shape", cache_length=3)
    lengths = np.array([1, 2, 3])
    message = "generate needs a cache_length of 4 or more for prompts of that length"
    wrong(ValueError, message, cache_length=3, lengths=lengths)
    plain, its = model_and_params()
    message = "needs a cache of length 12 or more for x of shape"
    wrong(ValueError, message, plain, its, cache_length=11)


def test_learned_positions_run_out_all_the_same():
    model, params = model_and_params(window=2, positions="learned", length=6)
    cache = jax.eval_shape(partial(model.apply, cache=3), params, PROMPT)[1]
    cache = jax.tree.map(lambda a: jnp.full(a.shape, 6, a.dtype), cache)
    message = "Transformer needs at most 6 positions, its length; got 6 and 1 further ones."
    fails(ValueError, message, model.apply, params, PROMPT[:, :1], cache=cache)
    assert np.isnan(jax.jit(model.apply)(params, PROMPT[:, :1], cache=cache)[0]).all()
