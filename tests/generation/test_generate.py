"""What is drawn, and from what."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn.generation import generate, sample
from funcnn.layers import Layer, RMSNorm, Transformer

KEY = jax.random.key(0)
PROMPT = np.array([[3, 1, 4], [1, 5, 9]], np.int32)
MODEL = Transformer(
    11, 8, 2, 2, key_heads=1, window=4, tied=False, use_bias=False, norm_layer=RMSNorm()
)
RNG = np.random.default_rng(4)
PARAMS = jax.tree.map(  # of a seed that gives a varied text
    lambda a: jnp.asarray(RNG.standard_normal(a.shape)),
    jax.eval_shape(MODEL.init, KEY, PROMPT),
)
APPLY = jax.jit(MODEL.apply)


@functools.cache
def greedy(length):
    """The text that follows so much of the prompt, by the largest logits."""
    draw = jax.jit(lambda p, x: generate(MODEL, p, x, None, steps=6, temperature=0))
    return np.asarray(draw(PARAMS, PROMPT[:, :length]))


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
    got = greedy(length)
    assert got.dtype == jnp.int32
    np.testing.assert_array_equal(got, want)


def test_drawn_text_is_that_of_a_plain_loop():
    options = {"temperature": 2.0, "top_k": 8, "top_p": 0.9}

    @jax.jit
    def choose(i, logits):
        return sample(jax.random.fold_in(KEY, i), logits, **options)

    draw = jax.jit(lambda p, x, key: generate(MODEL, p, x, key, steps=6, **options))
    got = draw(PARAMS, PROMPT, KEY)
    np.testing.assert_array_equal(got, continued(PROMPT, 6, choose))
    others = draw(PARAMS, PROMPT, jax.random.key(1))
    assert (got != others).any()
    assert draw._cache_size() == 1


def test_nothing_but_stop_after_stop():
    free = greedy(3)
    stop = int(free[0, 4])
    assert stop not in free[0, 3:4]
    options = {"steps": 6, "temperature": 0, "stop": stop}
    draw = jax.jit(lambda p, x: generate(MODEL, p, x, None, **options))
    got = np.asarray(draw(PARAMS, PROMPT))
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
    assert fed[:2] == [(2, 1), (2, 2)]  # to know the vocabulary, and to read the prompt
    assert set(fed[2:]) == {(2, 1)}
    scans = [e.params["length"] for e in jaxpr.eqns if e.primitive.name == "scan"]
    assert scans == [2, 50]  # blocks that read the prompt, and tokens


def test_no_steps():
    np.testing.assert_array_equal(generate(MODEL, PARAMS, PROMPT, KEY, steps=0), PROMPT)


# Probabilities of four, out of order.
SHARES = np.array([0.1, 0.4, 0.2, 0.3])


DRAWS = [
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
]
N = 20_000


@pytest.fixture(scope="module")
def drawn():
    """What is drawn with each of the options, in one program."""
    equal, hidden = np.zeros((1000, 5)), np.array([[0.0, -np.inf, 0.0, -np.inf]] * 1000)

    @jax.jit
    def compute(logits, equal, hidden):
        return {
            "shares": [sample(KEY, logits, **options) for options, _ in DRAWS],
            "ties": sample(None, equal, temperature=0),
            "two": sample(KEY, equal, top_k=2),
            "hidden": [
                sample(KEY, hidden, **o) for o in ({}, {"top_k": 3}, {"top_p": 1.0})
            ],
            "low": sample(KEY, equal.astype(jnp.bfloat16)),
        }

    logits = np.broadcast_to(np.log(SHARES) + 3, (N, 4))
    return jax.tree.map(np.asarray, compute(logits, equal, hidden))


@pytest.mark.parametrize("case", range(len(DRAWS)), ids=[str(o) for o, _ in DRAWS])
def test_draws_have_the_shares_of_what_is_kept(drawn, case):
    shares = DRAWS[case][1]
    wanted = np.asarray(shares) / np.sum(shares)
    counted = np.bincount(drawn["shares"][case], minlength=4) / N
    assert (counted[wanted == 0] == 0).all()
    # five standard errors
    assert (np.abs(counted - wanted) <= 5 * np.sqrt(wanted * (1 - wanted) / N)).all()


def test_ties_and_infinities(drawn):
    assert set(drawn["ties"].tolist()) == {0}
    assert set(drawn["two"].tolist()) == {0, 1}
    for found in drawn["hidden"]:
        assert set(found.tolist()) == {0, 2}
    assert set(drawn["low"].tolist()) == set(range(5))


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
    logits = np.zeros((2, 5))
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
    fails(TypeError, "sample needs logits of a floating", sample, KEY, np.arange(3))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("temperature", [1e-6, 1e-38, 1e-45, 1e-300])
def test_next_to_temperature_0_the_largest_is_drawn(dtype, temperature):
    logits = jnp.asarray([[1.0, 3.0, 2.0], [-300.0, -200.0, -jnp.inf]], dtype)
    for options in ({}, {"top_k": 2}, {"top_p": 0.9}, {"top_p": 1e-50}, {"top_p": 1.0}):
        drawn = sample(KEY, logits, temperature=temperature, **options)
        assert drawn.tolist() == [1, 1], options


def test_extreme_logits_and_temperatures():
    logits = jnp.asarray([[3e38, -3e38, -jnp.inf]], jnp.float32)
    assert sample(KEY, logits, temperature=0.01).tolist() == [0]
    many = jnp.broadcast_to(jnp.asarray([0.0, 5.0, -jnp.inf]), (100, 3))
    assert set(sample(KEY, many, temperature=np.inf).tolist()) == {0, 1}
