"""Text, a token at a time: the loop."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from funcnn.foundation._checks import integer
from funcnn.generation import _prompts as prompts
from funcnn.generation._sample import sample
from funcnn.layers import Cache, Layer


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
    stop: int | Sequence[int] | None = None,
    lengths: jax.Array | None = None,
    padding: str = "right",
    cache_length: int | None = None,
) -> jax.Array:
    """Continue each row of a prompt by `steps` tokens.

    The prompt is read at once, then there is one loop, a `jax.lax.scan` that feeds a token
    and draws the next; keys and values are computed once. Pure; under `jax.jit` close over
    the options. Token `i` is drawn by `jax.random.fold_in(key, i)`, for all rows.

    With `lengths`, prompts may be of different lengths: that of row `i` is of `lengths[i]`
    tokens, and what is on the side of `padding` counts for nothing, whatever it is. At
    temperature 0 each row is continued as its prompt would be alone.

    Args:
        model: `apply(params, ids, cache=cache)` returns logits `(B, T, V)` and a cache. For
            prompts of different lengths that is made of `layers.Cache`s.
        params: those of the model.
        prompt: integers of shape `(B, P)`, P > 0, from 0 to V - 1 where they count.
        key: for randomness; may be None if the temperature is 0.
        steps: how many tokens to add, at least 0. A model of learned positions needs a
            length of at least `P + steps - 1`.
        temperature: see `sample`, as for the next two.
        top_k: likewise.
        top_p: likewise.
        stop: a token, or several, after which a row has nothing but that token. The loop
            goes on.
        lengths: integers of shape `(B,)`, from 1 to P; all P tokens by default.
        padding: the side of a prompt that is padded, "right" or "left".
        cache_length: of the model's cache, `P + steps - 1` by default. Less, but more than
            the positions before its own that one sees, is room enough for any number of
            tokens if there is a window; with `lengths`, P or more is needed.

    Returns:
        Shape `(B, P + steps)`, in the prompt's dtype if that holds V - 1, else int32: each
        prompt, what follows, and on the right the padding that was there.

    Raises:
        TypeError: if the prompt is not of integers, there is no key and the temperature is
            not 0, or an option has the wrong type.
        ValueError: if the prompt does not have two axes, an option is out of range, or an
            id that is known before the program runs, or the cache is too short.
    """
    prompt = prompts.checked_prompt(prompt)
    lengths = prompts.checked_lengths(lengths, padding, prompt)
    steps = integer("generate", "steps", steps, minimum=0)
    options: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    if key is None and temperature != 0:
        raise TypeError(f"generate needs a key for temperature {temperature}; got None.")
    length = room(model, params, prompt, steps, cache_length, lengths)
    logits, cache = described(model, params, prompt[:, :1], length)
    vocabulary = logits.shape[-1]
    stops = prompts.checked_stop(stop, vocabulary)
    at = jnp.arange(prompt.shape[1], dtype="int32")
    real = at >= 0 if lengths is None else counted(at, lengths, padding)
    prompts.check_ids(prompt, jnp.broadcast_to(real, prompt.shape), vocabulary)
    prompt = prompt.astype(prompts.holding(prompt.dtype, vocabulary))
    if lengths is None:
        run, ids, last = model.apply, prompt, prompt[:, -1]
        cache = read(model, params, ids, cache, length)
    else:
        run, ids = each_row(model), prompts.left_aligned(prompt, lengths, padding)
        last = jnp.take_along_axis(ids, lengths[:, None] - 1, 1)[:, 0]
        cache = read_rows(model, params, ids, lengths, length)

    def step(state, i):
        token, cache, stopped = state
        logits, cache = run(params, token[:, None], cache=cache)
        step_key = None if key is None else jax.random.fold_in(key, i)
        drawn = sample(step_key, logits[:, -1], **options).astype(token.dtype)
        token = jnp.where(stopped, token, drawn)
        if stops:
            stopped = stopped | jnp.isin(drawn, jnp.asarray(stops, drawn.dtype))
        return (token, cache, stopped), token

    state = last, cache, jnp.zeros(prompt.shape[0], bool)
    _, tokens = jax.lax.scan(step, state, jnp.arange(steps))
    return prompts.joined(prompt, tokens.T, lengths, padding)


def counted(at, lengths, padding):
    """Which tokens of each row are prompt."""
    n = at.shape[0]
    return at < lengths[:, None] if padding == "right" else at >= n - lengths[:, None]


def room(model, params, prompt, steps, length, lengths):
    """The length of the cache, checked if it is given.

    Raises:
        TypeError: if it is not an integer.
        ValueError: if it is too short.
    """
    fed = max(prompt.shape[1] + steps - 1, 1)
    if length is None:
        return fed
    integer("generate", "cache_length", length, minimum=1)
    if lengths is not None and length < prompt.shape[1]:
        raise ValueError(
            f"generate needs a cache_length of {prompt.shape[1]} or more for prompts of "
            f"that length with lengths; got {length}."
        )
    if length < fed:  # whether that is enough is for the model to say
        ids = jax.ShapeDtypeStruct((prompt.shape[0], fed), prompt.dtype)
        described(model, params, ids, length)
    return length


def described(model, params, ids, length):
    """Shapes of logits, and of a cache of some length."""
    return jax.eval_shape(lambda *args: model.apply(*args, cache=length), params, ids)


def read(model, params, ids, cache, length):
    """The cache of a model that has been fed all of the prompt but its last token.

    That is left to the loop, so that there is one place that draws tokens, and of the
    prompt's logits none is needed: a compiler leaves the head out.
    """
    if ids.shape[1] > 1:
        return model.apply(params, ids[:, :-1], cache=length)[1]
    return jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), cache)


def each_row(model):
    """`model.apply` of rows one by one, each with a cache of its own position."""

    def row(params, x, cache):
        logits, cache = model.apply(params, x[None], cache=cache)
        return logits[0], cache

    def apply(params, x, cache):
        return jax.vmap(row, (None, 0, 0))(params, x, cache)

    return apply


def read_rows(model, params, ids, lengths, length):
    """Caches of rows, each at its own last token.

    What comes after that is in the cache, too, and is seen by nothing before it has been
    written over.
    """
    _, empty = described(model, params, ids[:1, :1], length)

    def row(ids, fed):
        cache = read(model, params, ids[None], empty, length)
        return jax.tree.map(moved_to(fed), cache, is_leaf=is_cache)

    return jax.vmap(row)(ids, lengths - 1)


def moved_to(fed):
    """What sets the position of a cache."""

    def at(cache):
        if not is_cache(cache):
            raise TypeError(
                "generate needs a model whose cache is made of layers.Cache for lengths; "
                f"got {type(cache).__name__}."
            )
        return cache._replace(position=jnp.full_like(cache.position, fed))

    return at


def is_cache(a):
    """Whether it is the cache of an attention layer."""
    return isinstance(a, Cache)
