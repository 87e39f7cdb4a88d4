"""Textbook layers, whose rules compute the same in another order of operations."""

import math

import jax
import jax.numpy as jnp

from tests.catalogue.entry import Entry, rule
from tests.catalogue.right import array, labels, normal, uniform


def dense(x, weight, bias):
    return x @ weight + bias


def dense_bwd(residuals, dy):
    x, weight, _ = residuals
    return dy @ weight.T, jnp.einsum("ni,no->io", x, dy), jnp.ones(len(dy), dy.dtype) @ dy


dense_rule = rule(dense, dense_bwd)


def conv1d(x, kernel):
    """(N, W, I) and (K, I, O) to (N, W - K + 1, O), a product a tap."""
    width = x.shape[1] - len(kernel) + 1
    return sum(x[:, k : k + width] @ kernel[k] for k in range(len(kernel)))


def conv1d_bwd(residuals, dy):
    x, kernel = residuals
    width, size = dy.shape[1], len(kernel)
    padded = jnp.pad(dy, ((0, 0), (size - 1, size - 1), (0, 0)))
    dx = conv1d(padded, kernel[::-1].transpose(0, 2, 1))
    taps = [jnp.einsum("nwi,nwo->io", x[:, k : k + width], dy) for k in range(size)]
    return dx, jnp.stack(taps)


conv1d_rule = rule(conv1d, conv1d_bwd)


def conv1d_reference(x, kernel):
    numbers = ("NWC", "WIO", "NWC")
    return jax.lax.conv_general_dilated(x, kernel, (1,), "VALID", dimension_numbers=numbers)


def attention(q, k, v):
    """Causal, for one head."""
    n = len(q)
    scores = jnp.where(jnp.tri(n, dtype=bool), q @ k.T / math.sqrt(q.shape[-1]), -jnp.inf)
    return jax.nn.softmax(scores) @ v


def attention_fwd(q, k, v):
    scores = jnp.where(
        jnp.tri(len(q), dtype=bool), q @ k.T / math.sqrt(q.shape[-1]), -jnp.inf
    )
    log_total = jax.nn.logsumexp(scores, -1)
    y = jnp.exp(scores - log_total[:, None]) @ v
    return y, (q, k, v, y, log_total)


def attention_bwd(residuals, dy):
    """The row sums of p * dp from the output, as in FlashAttention (Dao et al., 2022)."""
    q, k, v, y, log_total = residuals
    scale = 1 / math.sqrt(q.shape[-1])
    scores = jnp.where(jnp.tri(len(q), dtype=bool), q @ k.T * scale, -jnp.inf)
    p = jnp.exp(scores - log_total[:, None])
    ds = p * (dy @ v.T - (dy * y).sum(-1, keepdims=True)) * scale
    return ds @ k, ds.T @ q, p.T @ dy


attention_rule = rule(attention, attention_bwd, attention_fwd)


def attention_reference(q, k, v):
    e = jnp.exp(q @ k.T / math.sqrt(q.shape[-1])) * jnp.tri(len(q), dtype=q.dtype)
    return e @ v / e.sum(-1, keepdims=True)


def lstm(weights, state, x):
    """One step of an LSTM; the gates are input, forget, candidate and output."""
    h, c = state
    i, f, g, o = jnp.split(x @ weights["x"] + h @ weights["h"] + weights["b"], 4, -1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def lstm_bwd(residuals, dys):
    weights, (h, c), x = residuals
    a = x @ weights["x"] + h @ weights["h"] + weights["b"]
    i, f, g, o = jnp.split(a, 4, -1)
    i, f, g, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)
    t = jnp.tanh(f * c + i * g)
    dc = dys[1] + dys[0] * o * (1 - t**2)
    di, df, dg = dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g**2)
    da = jnp.concatenate([di, df, dg, dys[0] * t * o * (1 - o)], -1)
    dweights = {"x": x.T @ da, "h": h.T @ da, "b": da.sum(0)}
    return dweights, (da @ weights["h"].T, dc * f), da @ weights["x"].T


lstm_rule = rule(lstm, lstm_bwd)


def lstm_args(rng):
    weights = {"x": normal(rng, 3, 8), "h": normal(rng, 2, 8), "b": normal(rng, 8)}
    return weights, (normal(rng, 4, 2), normal(rng, 4, 2)), normal(rng, 4, 3)


def embedding(table, ids):
    return jnp.take(table, ids, 0)


def embedding_bwd(residuals, dy):
    table, ids = residuals
    hot = jax.nn.one_hot(ids, len(table), dtype=dy.dtype)
    return jnp.tensordot(hot, dy, ((0, 1), (0, 1))), None


embedding_rule = rule(embedding, embedding_bwd)


def swiglu(x, gate, up):
    return jax.nn.silu(x @ gate) * (x @ up)


def swiglu_bwd(residuals, dy):
    x, gate, up = residuals
    a, b = x @ gate, x @ up
    s = jax.nn.sigmoid(a)
    da, db = dy * b * s * (1 + a * (1 - s)), dy * a * s
    return da @ gate.T + db @ up.T, x.T @ da, x.T @ db


swiglu_rule = rule(swiglu, swiglu_bwd)


def rotate(x, sign=1):
    """Rotary position embedding (Su et al., 2021): pairs turned by their position."""
    position = jnp.arange(x.shape[0], dtype=x.dtype)[:, None]
    angle = sign * position / 10 ** jnp.arange(x.shape[1] // 2, dtype=x.dtype)
    a, b = jnp.split(x, 2, -1)
    c, s = jnp.cos(angle), jnp.sin(angle)
    return jnp.concatenate([a * c - b * s, a * s + b * c], -1)


rotate_rule = rule(lambda x: rotate(x), lambda r, dy: (rotate(dy, -1),))


def lora(x, weight, down, up):
    """A product with a low-rank correction."""
    return x @ (weight + down @ up)


def lora_bwd(residuals, dy):
    x, weight, down, up = residuals
    dx = dy @ weight.T + (dy @ up.T) @ down.T
    return dx, x.T @ dy, x.T @ (dy @ up.T), (x @ down).T @ dy


lora_rule = rule(lora, lora_bwd)

ENTRIES = [
    Entry(
        "dense",
        "Three arguments; the bias was broadcast.",
        dense_rule,
        lambda rng: (normal(rng, 5, 3), normal(rng, 3, 4), normal(rng, 4)),
        dense,
    ),
    Entry(
        "conv1d",
        "A product a tap against JAX's convolution.",
        conv1d_rule,
        lambda rng: (normal(rng, 2, 8, 3), normal(rng, 3, 3, 2)),
        conv1d_reference,
    ),
    Entry(
        "attention",
        "Causal; the rule takes row sums from the output, not from the scores.",
        attention_rule,
        lambda rng: tuple(normal(rng, 5, 4) for _ in range(3)),
        attention_reference,
    ),
    Entry(
        "lstm_cell",
        "A dict, a tuple and an array in, two arrays out.",
        lstm_rule,
        lstm_args,
        lstm,
    ),
    Entry(
        "embedding_by_products",
        "The rule multiplies by one-hot rows where autodiff scatters.",
        embedding_rule,
        lambda rng: (normal(rng, 5, 3), labels(rng, 5, 2, 4)),
        embedding,
    ),
    Entry(
        "swiglu",
        "A gate times its input, twice.",
        swiglu_rule,
        lambda rng: (normal(rng, 4, 3), normal(rng, 3, 5), normal(rng, 3, 5)),
        lambda x, gate, up: (x @ gate) / (1 + jnp.exp(-x @ gate)) * (x @ up),
    ),
    Entry(
        "rotary_embedding",
        "A rotation, whose rule is the rotation back.",
        rotate_rule,
        lambda rng: (normal(rng, 5, 6),),
        rotate,
    ),
    Entry(
        "low_rank_correction",
        "Products in another order than autodiff's.",
        lora_rule,
        lambda rng: (
            normal(rng, 4, 5),
            normal(rng, 5, 3),
            normal(rng, 5, 2),
            normal(rng, 2, 3),
        ),
        lora,
    ),
    Entry(
        "dense_scaled_by_1000",
        "The same rule on rows of unlike size.",
        dense_rule,
        lambda rng: (
            normal(rng, 4, 3) * array([[1], [1e3], [1e-3], [30]]),
            normal(rng, 3, 4),
            1e3 * uniform(rng, 1, 2, 4),
        ),
        dense,
    ),
]
