"""Prompts of different lengths, tokens of any dtype, and what is not in the vocabulary."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn.generation import generate
from funcnn.layers import Layer, Transformer
from tests.support.layers import fails

KEY = jax.random.key(0)
LENGTHS = np.array([2, 4, 1])
PROMPT = np.array([[3, 1, 0, 0], [1, 5, 9, 2], [6, 0, 0, 0]])


def model_and_params(**options):
    model = Transformer(11, 8, 2, 2, **options)
    rng = np.random.default_rng(4)
    params = jax.tree.map(
        lambda a: jnp.asarray(rng.standard_normal(a.shape)),
        jax.eval_shape(model.init, KEY, PROMPT),
    )
    return model, params


@pytest.mark.parametrize(
    "options",
    [{"window": 3}, {"positions": "learned", "length": 9}],
    ids=["rope, window", "learned positions"],
)
def test_a_padded_prompt_is_continued_as_it_is_alone(options):
    model, params = model_and_params(**options)
    steps = 5

    @jax.jit
    def continued(prompt, lengths=None):
        return generate(
            model, params, prompt, None, steps=steps, temperature=0, lengths=lengths
        )

    got = np.asarray(continued(jnp.asarray(PROMPT), jnp.asarray(LENGTHS)))
    left = np.stack([np.roll(row, 4 - n) for row, n in zip(PROMPT, LENGTHS, strict=True)])
    left[left == 0] = 10  # padding may be anything
    other = generate(
        model,
        params,
        left,
        None,
        steps=steps,
        temperature=0,
        lengths=LENGTHS,
        padding="left",
    )
    for i, n in enumerate(LENGTHS):
        alone = np.asarray(continued(jnp.asarray(PROMPT[i : i + 1, :n])))[0]
        np.testing.assert_array_equal(got[i, : n + steps], alone)
        np.testing.assert_array_equal(got[i, n + steps :], PROMPT[i, n:])
        np.testing.assert_array_equal(np.asarray(other)[i, 4 - n :], alone)


def constant(vocabulary, *tokens):
    """A model that says some tokens in turn, whatever it is asked."""

    def apply(params, x, *, key=None, cache=None):
        fed = jnp.int32(0) if isinstance(cache, int) else cache
        at = (fed + jnp.arange(x.shape[1], dtype=jnp.int32)) % len(tokens)
        logits = 9.0 * jax.nn.one_hot(jnp.asarray(tokens)[at], vocabulary)
        return jnp.broadcast_to(logits, (*x.shape, vocabulary)), fed + x.shape[1]

    return Layer(lambda key, shape: {}, apply)


@pytest.mark.parametrize(
    "dtype, vocabulary, wide",
    [
        ("uint8", 1000, "int32"),
        ("int8", 200, "int32"),
        ("uint8", 256, "uint8"),
        ("int16", 300, "int16"),
    ],
)
def test_tokens_have_a_dtype_that_holds_the_vocabulary(dtype, vocabulary, wide):
    largest = vocabulary - 1
    prompt = np.array([[1, 2]], dtype)
    ids = generate(constant(vocabulary, largest), {}, prompt, None, steps=2, temperature=0)
    assert ids.dtype == wide
    assert ids.tolist() == [[1, 2, largest, largest]]


@pytest.mark.parametrize("stop", [(7, 3), [3], np.array([3, 9]), 3, np.int64(3)])
def test_the_first_of_several_stop_tokens_ends_a_row(stop):
    model = constant(10, 1, 2, 3, 4, 7)
    ids = generate(model, {}, np.array([[0]]), None, steps=6, temperature=0, stop=stop)
    assert ids.tolist() == [[0, 1, 2, 3, 3, 3, 3]]


def test_what_is_not_in_the_vocabulary():
    model, good = constant(10, 1), np.array([[1, 2]])

    def wrong(message, kind=ValueError, prompt=good, **options):
        options = {"steps": 1, "temperature": 0} | options
        fails(kind, message, generate, model, {}, prompt, None, **options)

    wrong("generate needs stop below 10, as many tokens as the model has", stop=10)
    wrong("generate needs stop below 10, as many", stop=(1, 300))
    wrong("generate needs stop of at least 0; got -1.", stop=-1)
    wrong("generate needs ids in a prompt of 0 to 9, as many", prompt=np.array([[1, 10]]))
    wrong("generate needs ids in a prompt of 0 to 9", prompt=np.array([[-1, 1]]))
    wrong("generate needs padding of right or left; got 'top'.", padding="top")
    wrong("generate needs lengths of shape (1,) for a prompt", lengths=np.array([1, 1]))
    wrong("generate needs lengths of 1 to 2 for a prompt", lengths=np.array([0]))
    wrong("generate needs lengths of integers", TypeError, lengths=np.array([1.0]))
    wrong("whose cache is made of layers.Cache", TypeError, lengths=np.array([1]))
