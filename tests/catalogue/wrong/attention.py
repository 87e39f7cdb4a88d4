"""Attention over (length, width) queries, keys and values."""

from functools import partial

import jax
import jax.numpy as jnp

from ..entry import Entry, normals, pullback_of, rule


def softmax(s):
    return jnp.exp(s - jax.nn.logsumexp(s, axis=-1, keepdims=True))


def scale(q):
    return q.shape[-1] ** -0.5


def attention(q, k, v):
    return softmax(scale(q) * (q @ k.T)) @ v


def attention_rule(scores, products):
    """From the cotangent of the probabilities to scores, and from these to q and k."""

    def bwd(r, dy):
        q, k, v = r
        p = softmax(scale(q) * (q @ k.T))
        ds = scores(p, dy @ v.T)
        return *products(ds, q, k), p.T @ dy

    return rule(attention, bwd)


def right_scores(p, dp):
    return p * (dp - (p * dp).sum(-1, keepdims=True))


def right_products(ds, q, k):
    return scale(q) * (ds @ k), scale(q) * (ds.T @ q)


def diagonal_only(p, dp):
    return p * dp


def summed_over_queries(p, dp):
    return p * (dp - (p * dp).sum(0))


def key_not_scaled(ds, q, k):
    return scale(q) * (ds @ k), ds.T @ q


def query_scaled_twice(ds, q, k):
    return scale(q) ** 2 * (ds @ k), scale(q) * (ds.T @ q)


def scores_not_transposed(ds, q, k):
    return scale(q) * (ds @ k), scale(q) * (ds @ q)


def causal(q, k, v):
    seen = jnp.tril(jnp.ones((len(q), len(k)), bool))
    return softmax(jnp.where(seen, scale(q) * (q @ k.T), -jnp.inf)) @ v


def delta_from_output(r, dy):
    """Flash attention's row sums, taken of the output with itself."""
    q, k, v = r
    p = softmax(scale(q) * (q @ k.T))
    y = p @ v
    ds = p * (dy @ v.T - (y * y).sum(-1, keepdims=True))
    return *right_products(ds, q, k), p.T @ dy


SQUARE = normals((4, 4), (4, 4), (4, 4))


CROSS = normals((3, 4), (5, 4), (5, 2))


plain = partial(attention_rule, right_scores)


def entry(name, note, f, args, reference=attention):
    return Entry(name, note, f, args, reference)


ENTRIES = [
    entry(
        "attention_softmax_diagonal_only",
        "the softmax's Jacobian is taken to be p on its diagonal",
        attention_rule(diagonal_only, right_products),
        CROSS,
    ),
    entry(
        "attention_softmax_summed_over_queries",
        "the softmax's row sums are taken over queries: right in shape if square",
        attention_rule(summed_over_queries, right_products),
        SQUARE,
    ),
    entry("attention_key_not_scaled", "dk lacks 1 / sqrt(d)", plain(key_not_scaled), CROSS),
    entry(
        "attention_query_scaled_twice",
        "dq has 1 / d for 1 / sqrt(d)",
        plain(query_scaled_twice),
        CROSS,
    ),
    entry(
        "attention_scores_not_transposed",
        "dk uses the scores' cotangent as it is: right in shape if square",
        plain(scores_not_transposed),
        SQUARE,
    ),
    entry(
        "attention_delta_from_output",
        "the row sums of y . dy are those of y . y",
        rule(attention, delta_from_output),
        CROSS,
    ),
    entry(
        "causal_attention_mask_forgotten",
        "the probabilities are recomputed without the mask",
        rule(causal, pullback_of(attention)),
        SQUARE,
        causal,
    ),
]
