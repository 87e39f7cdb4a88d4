"""Comes in: prompts and tokens to stop at. Goes out: the same, checked."""

import jax
import jax.numpy as jnp
import numpy as np

from funcnn.foundation._checks import as_array, integer

SIDES = ("right", "left")


def checked_prompt(prompt) -> jax.Array:
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


def checked_lengths(lengths, padding, prompt):
    """How many tokens of each row are prompt, int32 `(B,)`, or None.

    Raises:
        TypeError: if they are not integers.
        ValueError: if there is not one for each row, one is known to be out of range, or
            `padding` is neither side.
    """
    if padding not in SIDES:
        raise ValueError(f"generate needs padding of right or left; got {padding!r}.")
    if lengths is None:
        return None
    lengths = as_array("generate", "lengths", lengths)
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise TypeError(f"generate needs lengths of integers; got {lengths.dtype}.")
    rows, most = prompt.shape
    if lengths.shape != (rows,):
        raise ValueError(
            f"generate needs lengths of shape ({rows},) for a prompt of shape "
            f"{prompt.shape}; got {lengths.shape}."
        )
    wrong = known_outside(lengths, 1, most)
    if wrong is not None:
        raise ValueError(
            f"generate needs lengths of 1 to {most} for a prompt of shape {prompt.shape}; "
            f"got {wrong}."
        )
    return lengths.astype("int32")


def checked_stop(stop, vocabulary) -> tuple[int, ...]:
    """The tokens to stop at.

    Raises:
        TypeError: if one is not an integer.
        ValueError: if one is not in the vocabulary.
    """
    if stop is None:
        return ()
    several = isinstance(stop, tuple | list | set | frozenset) or np.ndim(stop) == 1
    tokens = [
        integer("generate", "stop", n, minimum=0) for n in (stop if several else [stop])
    ]
    for token in tokens:
        if token >= vocabulary:
            raise ValueError(
                f"generate needs stop below {vocabulary}, as many tokens as the model has "
                f"logits; got {token}."
            )
    return tuple(sorted(set(tokens)))


def check_ids(prompt, real, vocabulary):
    """Check the ids of a prompt, if they are known, where they are `real`.

    Raises:
        ValueError: if one is not in the vocabulary.
    """
    if not isinstance(real, jax.core.Tracer) and not isinstance(prompt, jax.core.Tracer):
        wrong = known_outside(np.asarray(prompt)[np.asarray(real)], 0, vocabulary - 1)
        if wrong is not None:
            raise ValueError(
                f"generate needs ids in a prompt of 0 to {vocabulary - 1}, as many tokens "
                f"as the model has logits; got {wrong}."
            )


def known_outside(a, low, high):
    """A number of `a` that is out of range, or None, also if that cannot be known."""
    if isinstance(a, jax.core.Tracer):
        return None
    a = np.asarray(a)
    wrong = a[(a < low) | (a > high)]
    return wrong[0] if wrong.size else None


def holding(dtype, vocabulary):
    """`dtype` if it holds all tokens, else one that does."""
    return dtype if jnp.iinfo(dtype).max >= vocabulary - 1 else jnp.dtype("int32")


def left_aligned(prompt, lengths, padding):
    """Each row with its tokens first, and 0 after them."""
    if padding == "left":
        shift = lengths - prompt.shape[1]
        prompt = jax.vmap(jnp.roll)(prompt, shift)
    at = jnp.arange(prompt.shape[1], dtype=lengths.dtype)
    return jnp.where(at < lengths[:, None], prompt, 0)


def joined(prompt, tokens, lengths, padding):
    """Each row's prompt with its tokens after it, and after those what was its padding."""
    whole = jnp.concatenate([prompt, tokens], 1)
    if lengths is None or padding == "left":
        return whole
    at, steps = jnp.arange(whole.shape[1], dtype=lengths.dtype), tokens.shape[1]
    end = lengths[:, None]
    new = at - end + prompt.shape[1]
    index = jnp.where(at < end, at, jnp.where(at < end + steps, new, at - steps))
    return jnp.take_along_axis(whole, index, 1)
