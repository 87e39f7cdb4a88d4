"""Text from a language model, a token at a time.

    model = layers.Transformer(1000, 64, heads=4, depth=2)
    prompt = jnp.array([[1, 2, 3]])
    params = model.init(key, prompt)
    ids = generation.generate(model, params, prompt, key, steps=5, top_p=0.9)

Any layer will do that takes ids of shape `(B, T)`, and `cache=` as `layers.Transformer`
does.
"""

from typing import Any

import jax
import jax.numpy as jnp

from funcnn import ops
from funcnn.foundation._checks import as_array, float_arrays, integer, number
from funcnn.foundation._dtypes import upcast
from funcnn.layers import Layer


def generate(
    model: Layer,
    params: Any,
    prompt: jax.Array,
    key: jax.Array | None,
    *,
    steps: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop: int | None = None,
) -> jax.Array:
    """Continue each row of a prompt by `steps` tokens.

    The prompt is read at once, then there is one loop, a `jax.lax.scan` that feeds a token
    and draws the next; keys and values are computed once. Pure; under `jax.jit` close over
    the options. Token `i` is drawn by `jax.random.fold_in(key, i)`, for all rows.

    Args:
        model: `apply(params, ids, cache=cache)` returns logits `(B, T, V)` and a cache.
        params: those of the model.
        prompt: integers of shape `(B, P)`, P > 0; all of them are read, padding too.
        key: for randomness; may be None if the temperature is 0.
        steps: how many tokens to add, at least 0. A model of learned positions needs a
            length of at least `P + steps - 1`.
        temperature: see `sample`, as for the next two.
        top_k: likewise.
        top_p: likewise.
        stop: a token after which a row has nothing but this token, if given. The loop goes
            on.

    Returns:
        Shape `(B, P + steps)`, the prompt and what follows, in the prompt's dtype.

    Raises:
        TypeError: if the prompt is not of integers, there is no key and the temperature is
            not 0, or an option has the wrong type.
        ValueError: if the prompt does not have two axes, or an option is out of range.
    """
    prompt = _checked(prompt)
    steps = integer("generate", "steps", steps, minimum=0)
    if stop is not None:
        stop = integer("generate", "stop", stop, minimum=0)
    options: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    if key is None and temperature != 0:
        raise TypeError(f"generate needs a key for temperature {temperature}; got None.")

    def step(state, i):
        token, cache, stopped = state
        logits, cache = model.apply(params, token[:, None], cache=cache)
        step_key = None if key is None else jax.random.fold_in(key, i)
        token = sample(step_key, logits[:, -1], **options).astype(token.dtype)
        if stop is not None:
            token = jnp.where(stopped, jnp.asarray(stop, token.dtype), token)
            stopped = token == stop
        return (token, cache, stopped), token

    cache = read(model, params, prompt, max(prompt.shape[1] + steps - 1, 1))
    state = prompt[:, -1], cache, jnp.zeros(prompt.shape[0], bool)
    _, tokens = jax.lax.scan(step, state, jnp.arange(steps))
    return jnp.concatenate([prompt, tokens.T], 1)


def _checked(prompt):
    """The prompt as an array.

    Raises:
        TypeError: if it is not of integers.
        ValueError: if it does not have two axes, the second of them not empty.
    """
    prompt = as_array("generate", "prompt", prompt)
    if not jnp.issubdtype(prompt.dtype, jnp.integer):
        raise TypeError(f"generate needs a prompt of integers; got {prompt.dtype}.")
    if prompt.ndim != 2 or not prompt.shape[1]:
        raise ValueError(
            f"generate needs a prompt of shape (B, P) with P > 0; got {prompt.shape}."
        )
    return prompt


def read(model, params, prompt, length):
    """The cache of a model that has been fed all of the prompt but its last token.

    That is left to the loop, so that there is one place that draws tokens, and of the
    prompt's logits none is needed: a compiler leaves the head out.
    """
    if prompt.shape[1] > 1:
        return model.apply(params, prompt[:, :-1], cache=length)[1]
    _, cache = jax.eval_shape(
        lambda *args: model.apply(*args, cache=length), params, prompt
    )
    return jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), cache)


def sample(
    key: jax.Array | None,
    logits: jax.Array,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> jax.Array:
    """Draw an index for each row of logits.

    Args:
        key: for randomness; may be None if the temperature is 0.
        logits: shape `(..., V)`.
        temperature: what logits are divided by, at least 0; at 0 the largest is taken, and
            of equal ones the first.
        top_k: how many of the largest to draw from, at least 1; by default all.
        top_p: the share of probability, above 0 and at most 1, that those drawn from have
            to reach: as few of the largest as do (Holtzman et al., 2019, arXiv:1904.09751).
            It is a share of the `top_k` if both are given.

    Returns:
        Integers of shape `(...)`.

    Raises:
        TypeError: if `logits` is not floating-point, there is no key where one is needed,
            or an option has the wrong type.
        ValueError: if there are no logits, or an option is out of range.
    """
    (logits,) = float_arrays("sample", logits=logits)
    if not logits.ndim or not logits.shape[-1]:
        raise ValueError(f"sample needs logits (..., V) with V > 0; got {logits.shape}.")
    temperature = number("sample", "temperature", temperature, low=0.0)
    k = logits.shape[-1]
    if top_k is not None:
        k = min(k, integer("sample", "top_k", top_k, minimum=1))
    if top_p is not None:
        top_p = number("sample", "top_p", top_p, low=0.0, high=1.0)
        if not top_p:
            raise ValueError("sample needs top_p above 0; got 0.")
    if not temperature:
        return logits.argmax(-1)
    if key is None:
        raise TypeError(f"sample needs a key for temperature {temperature}; got None.")
    scores = upcast(logits) / temperature
    if top_k is None and top_p is None:
        return jax.random.categorical(key, scores)
    scores, order = jax.lax.top_k(scores, k)
    if top_p is not None:
        scores = _within(scores, top_p)
    drawn = jax.random.categorical(key, scores)[..., None]
    return jnp.take_along_axis(order, drawn, -1)[..., 0]


def _within(scores, top_p):
    """Scores, the largest first, those hidden without which the others reach `top_p`."""
    probs = ops.softmax(scores)
    larger = jnp.cumsum(probs, -1) - probs  # of those before
    return jnp.where(larger < top_p, scores, -jnp.inf)
