"""Attention with masks, heads, biases, positions and dropout."""

import jax
import jax.numpy as jnp
import numpy as np

from ..entry import normals, pullback_of, rule
from .attention import (
    CROSS,
    SQUARE,
    attention,
    entry,
    right_products,
    right_scores,
    scale,
    softmax,
)


def capped(q, k, v):
    return softmax(2 * jnp.tanh(scale(q) * (q @ k.T) / 2)) @ v


def cap_forgotten(r, dy):
    q, k, v = r
    p = softmax(2 * jnp.tanh(scale(q) * (q @ k.T) / 2))
    return *right_products(right_scores(p, dy @ v.T), q, k), p.T @ dy


def with_normaliser(q, k, v):
    """As flash attention does: the scores' logsumexp is an output too."""
    s = scale(q) * (q @ k.T)
    return softmax(s) @ v, jax.nn.logsumexp(s, axis=-1)


def normaliser_ignored(r, dys):
    return pullback_of(attention)(r, dys[0])


def multi_query(q, k, v):
    return jax.vmap(attention, (0, None, None))(q, k, v)


def heads_averaged(r, dy):
    dq, dk, dv = pullback_of(multi_query)(r, dy)
    return dq, dk / len(dq), dv / len(dq)


def biased(q, k, v, bias):
    """Heads share a bias: q, k and v are (heads, length, width), bias is (1, ...)."""
    return softmax(scale(q) * (q @ k.mT) + bias) @ v


def bias_before_the_softmax(r, dy):
    q, k, v, bias = r
    dq, dk, dv, _ = pullback_of(biased)(r, dy)
    p = softmax(scale(q) * (q @ k.mT) + bias)
    return dq, dk, dv, (p * (dy @ v.mT)).sum(0, keepdims=True)


def rotate(x, angle):
    a, b = jnp.split(x, 2, axis=-1)
    c, s = jnp.cos(angle), jnp.sin(angle)
    return jnp.concatenate([a * c - b * s, a * s + b * c], axis=-1)


def rotated_forwards(r, dy):
    return rotate(dy, r[1]), pullback_of(rotate)(r, dy)[1]


def padded(q, k, v, valid):
    return softmax(jnp.where(valid, scale(q) * (q @ k.T), -1e9)) @ v


def padding_gets_values(r, dy):
    q, k, _, _ = r
    dq, dk, _, _ = pullback_of(padded)(r, dy)
    return dq, dk, softmax(scale(q) * (q @ k.T)).T @ dy, None


def padded_args(rng):
    return *normals((3, 4), (5, 4), (5, 4))(rng), np.arange(5) < 3


def linear_causal(q, k, v):
    states = jnp.cumsum(k[:, :, None] * v[:, None, :], axis=0)
    return jnp.einsum("ti,tij->tj", q, states)


def future_not_reversed(r, dy):
    q, k, v = r
    seen = jnp.cumsum(q[:, :, None] * dy[:, None, :], axis=0)
    dk, dv = jnp.einsum("tij,tj->ti", seen, v), jnp.einsum("tij,ti->tj", seen, k)
    return pullback_of(linear_causal)(r, dy)[0], dk, dv


def dropped(q, k, v, seed):
    p = softmax(scale(q) * (q @ k.T))
    kept = jax.random.bernoulli(jax.random.wrap_key_data(seed), 0.5, p.shape)
    return 2 * jnp.where(kept, p, 0) @ v


def mask_redrawn(r, dy):
    q, k, v, seed = r
    again = jax.random.key_data(jax.random.split(jax.random.wrap_key_data(seed))[0])
    return pullback_of(dropped)((q, k, v, again), dy)


def dropped_args(rng):
    return *SQUARE(rng), rng.integers(0, 2**32, 2).astype(np.uint32)


HEADS = normals((2, 3, 4), (2, 3, 4), (2, 3, 4), (1, 3, 3))


ENTRIES = [
    entry(
        "capped_attention_cap_not_chained",
        "the slope of the cap on the scores is left out",
        rule(capped, cap_forgotten),
        CROSS,
        capped,
    ),
    entry(
        "attention_normaliser_cotangent_ignored",
        "the second output's cotangent is ignored",
        rule(with_normaliser, normaliser_ignored),
        CROSS,
        with_normaliser,
    ),
    entry(
        "multi_query_heads_averaged",
        "keys and values shared by heads get the mean over heads, not the sum",
        rule(multi_query, heads_averaged),
        normals((3, 2, 4), (5, 4), (5, 4)),
        multi_query,
    ),
    entry(
        "attention_bias_before_the_softmax",
        "the bias gets a cotangent that has not passed the softmax's projection",
        rule(biased, bias_before_the_softmax),
        HEADS,
        biased,
    ),
    entry(
        "rotary_rotated_forwards",
        "the cotangent is turned by the angle, not back by it",
        rule(rotate, rotated_forwards),
        normals((3, 4), (3, 2)),
        rotate,
    ),
    entry(
        "attention_padding_gets_values",
        "the values' cotangent uses probabilities without the padding mask",
        rule(padded, padding_gets_values),
        padded_args,
        padded,
    ),
    entry(
        "linear_attention_future_not_reversed",
        "keys and values sum over the past, not over the future",
        rule(linear_causal, future_not_reversed),
        normals((4, 3), (4, 3), (4, 2)),
        linear_causal,
    ),
    entry(
        "attention_dropout_mask_redrawn",
        "the backward pass draws its own dropout mask",
        rule(dropped, mask_redrawn),
        dropped_args,
        dropped,
    ),
]
