"""What is drawn, and from what."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn.generation import generate, sample
from funcnn.layers import Layer, RMSNorm, Transformer

KEY = jax.random.key(0)
PROMPT = jnp.array([[3, 1, 4], [1, 5, 9]], jnp.int32)
MODEL = Transformer(
    11, 8, 2, 2, key_heads=1, window=4, tied=False, use_bias=False, norm_layer=RMSNorm()
)
RNG = np.random.default_rng(4)
PARAMS = jax.tree.map(  # of a seed that gives a varied text
    lambda a: jnp.asarray(RNG.standard_normal(a.shape)),
    jax.eval_shape(MODEL.init, KEY, PROMPT),
)
APPLY = jax.jit(MODEL.apply)
GREEDY = {
    length: jax.jit(
        lambda p, x: generate(MODEL, p, x, None, steps=6, temperature=0)
    )  # a program for each length
    for length in (1, 3)
}


def continued(prompt, steps, choose):
    """The plain loop: all of the text for each token, without a cache."""
    ids = np.pad(prompt, [(0, 0), (0, steps)])  # what comes later has no effect
    for i, end in enumerate(range(prompt.shape[1], ids.shape[1])):
        ids[:, end] = choose(i, APPLY(PARAMS, ids)[:, end - 1])
    return ids


@pytest.mark.parametrize("length", [1, 3])
def test_greedy_text_is_that_of_a_plain_loop(length):
    prompt = PROMPT[:, :length]
    want = continued(prompt, 6, lambda i, logits: logits.argmax(-1))
    assert len(set(want[:, length:].ravel())) > 3, "a text of too few words to tell"
    got = generate(MODEL, PARAMS, prompt, None, steps=6, temperature=0)
    assert got.dtype == jnp.int32
    np.testing.assert_array_equal(got, want)


def test_drawn_text_is_that_of_a_plain_loop():
    options = {"temperature": 2.0, "top_k": 8, "top_p": 0.9}

    def choose(i, logits):
        return sample(jax.random.fold_in(KEY, i), logits, **options)

    draw = jax.jit(lambda p, x, key: generate(MODEL, p, x, key, steps=6, **options))
    got = draw(PARAMS, PROMPT, KEY)
    np.testing.assert_array_equal(got, continued(PROMPT, 6, choose))
    others = draw(PARAMS, PROMPT, jax.random.key(1))
    assert (got != others).any()
    assert draw._cache_size() == 1


def test_nothing_but_stop_after_stop():
    free = generate(MODEL, PARAMS, PROMPT, None, steps=6, temperature=0)
    stop = int(free[0, 4])
    assert stop not in free[0, 3:4]
    got = generate(MODEL, PARAMS, PROMPT, None, steps=6, temperature=0, stop=stop)
    np.testing.assert_array_equal(got[0], [*free[0, :5], *[stop] * 4])
    row = free[1, 3:].tolist()
    end = row.index(stop) if stop in row else 6
    np.testing.assert_array_equal(got[1, 3:], row[: end + 1] + [stop] * (5 - end))


def test_a_text_is_one_loop_that_feeds_one_token():
    fed = []

    def apply(params, x, **kwargs):
        fed.append(x.shape)
        return MODEL.apply(params, x, **kwargs)

    watched = Layer(MODEL.init, apply)
    jaxpr = jax.make_jaxpr(lambda p: generate(watched, p, PROMPT, KEY, steps=50))(PARAMS)
    assert set(fed[:1]) == {(2, 2)}
    assert set(fed[1:]) == {(2, 1)}
    scans = [e.params["length"] for e in jaxpr.eqns if e.primitive.name == "scan"]
    assert scans == [2, 50]  # blocks that read the prompt, and tokens


def test_no_steps():
    np.testing.assert_array_equal(generate(MODEL, PARAMS, PROMPT, KEY, steps=0), PROMPT)


# Probabilities of four, out of order.
SHARES = np.array([0.1, 0.4, 0.2, 0.3])


@pytest.mark.parametrize(
    "options, shares",
    [
        ({}, SHARES),
        ({"temperature": 0.5}, SHARES**2),
        ({"temperature": 2.0}, SHARES**0.5),
        ({"top_k": 1}, [0, 1, 0, 0]),
        ({"top_k": 2}, [0, 0.4, 0, 0.3]),
        ({"top_k": 9}, SHARES),
        ({"top_p": 1e-9}, [0, 1, 0, 0]),
        ({"top_p": 0.39}, [0, 1, 0, 0]),
        ({"top_p": 0.41}, [0, 0.4, 0, 0.3]),
        ({"top_p": 0.69}, [0, 0.4, 0, 0.3]),
        ({"top_p": 0.71}, [0, 0.4, 0.2, 0.3]),
        ({"top_p": 1.0}, SHARES),
        ({"top_k": 3, "top_p": 0.75}, [0, 0.4, 0, 0.3]),  # 0.7 of 0.9
        ({"temperature": 0.5, "top_p": 0.8}, [0, 0.16, 0, 0.09]),  # 0.25 of 0.3
    ],
)
def test_draws_have_the_shares_of_what_is_kept(options, shares):
    n = 20_000
    logits = jnp.broadcast_to(jnp.log(SHARES) + 3, (n, 4))
    drawn = sample(KEY, logits, **options)
    wanted = np.asarray(shares) / np.sum(shares)
    counted = np.bincount(drawn, minlength=4) / n
    assert (counted[wanted == 0] == 0).all()
    # five standard errors
    assert (np.abs(counted - wanted) <= 5 * np.sqrt(wanted * (1 - wanted) / n)).all()


def test_ties_and_infinities():
    equal = jnp.zeros((2, 5))
    np.testing.assert_array_equal(sample(None, equal, temperature=0), [0, 0])
    drawn = sample(KEY, jnp.zeros((1000, 5)), top_k=2)
    assert set(drawn.tolist()) == {0, 1}
    hidden = jnp.array([[0.0, -jnp.inf, 0.0, -jnp.inf]] * 1000)
    for options in ({}, {"top_k": 3}, {"top_p": 1.0}):
        assert set(sample(KEY, hidden, **options).tolist()) == {0, 2}
    low = sample(KEY, jnp.zeros((1000, 5), jnp.bfloat16))
    assert set(low.tolist()) == set(range(5))


def fails(kind, message, f, *args, **kwargs):
    with pytest.raises(kind, match=re.escape(message)):
        f(*args, **kwargs)


def test_errors():
    good = (MODEL, PARAMS, PROMPT, KEY)
    fails(
        ValueError, "generate needs steps of at least 0; got -1.", generate, *good, steps=-1
    )
    message = "generate needs a prompt of shape (B, P) with P > 0; got "
    fails(ValueError, message, generate, *good[:2], PROMPT[0], KEY, steps=1)
    fails(ValueError, message, generate, *good[:2], PROMPT[:, :0], KEY, steps=1)
    message = "generate needs a prompt of integers; got float64."
    fails(TypeError, message, generate, *good[:2], PROMPT.astype(float), KEY, steps=1)
    message = "generate needs a key for temperature 1.0; got None."
    fails(TypeError, message, generate, *good[:3], None, steps=1)
    fails(TypeError, "needs an integer stop; got '.'.", generate, *good, steps=1, stop=".")
    logits = jnp.zeros((2, 5))
    for options, kind, message in (
        ({"temperature": -1.0}, ValueError, "needs temperature of at least 0.0; got -1.0."),
        ({"temperature": "hot"}, TypeError, "needs a number for temperature; got 'hot'."),
        ({"top_k": 0}, ValueError, "needs top_k of at least 1; got 0."),
        ({"top_k": 0.5}, TypeError, "needs an integer top_k; got 0.5."),
        ({"top_p": 0}, ValueError, "needs top_p above 0; got 0."),
        ({"top_p": 1.5}, ValueError, "needs top_p in [0.0, 1.0]; got 1.5."),
    ):
        fails(kind, f"sample {message}", sample, KEY, logits, **options)
    fails(
        TypeError, "sample needs a key for temperature 1.0; got None.", sample, None, logits
    )
    fails(ValueError, "sample needs logits (..., V) with V > 0", sample, KEY, logits[:, :0])
    fails(TypeError, "sample needs logits of a floating", sample, KEY, jnp.arange(3))
