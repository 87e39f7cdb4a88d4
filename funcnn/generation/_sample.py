"""A token drawn by its logits."""

import jax
import jax.numpy as jnp

from funcnn import ops
from funcnn.foundation._checks import float_arrays, integer, number
from funcnn.foundation._dtypes import upcast


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
    scores = _divided(upcast(logits), temperature)
    if top_k is None and top_p is None:
        return jax.random.categorical(key, scores)
    scores, order = jax.lax.top_k(scores, k)
    if top_p is not None:
        scores = _within(scores, top_p)
    drawn = jax.random.categorical(key, scores)[..., None]
    return jnp.take_along_axis(order, drawn, -1)[..., 0]


def _divided(logits, temperature):
    """Logits below their largest, divided: no quotient of the largest can overflow.

    Nor is it 0 / 0 where float32 has no such temperature, which then draws the largest.
    """
    top = jax.lax.stop_gradient(logits.max(-1, keepdims=True))
    below = jnp.where(logits == top, 0, (logits - top) / temperature)
    return jnp.where(logits == -jnp.inf, -jnp.inf, below)


def _within(scores, top_p):
    """Scores, the largest first, those hidden without which the others reach `top_p`."""
    if top_p == 1:
        return scores
    probs = ops.softmax(scores)
    larger = jnp.cumsum(probs, -1) - probs  # of those before
    kept = (larger < top_p).at[..., 0].set(True)  # also if it is 0 in float32
    return jnp.where(kept, scores, -jnp.inf)
