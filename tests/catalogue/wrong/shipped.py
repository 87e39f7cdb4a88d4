"""Kinds of mistakes that libraries shipped, rebuilt in small.

Numbers are those of the issue or pull request in the library's repository on GitHub.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ..entry import Entry, normals, pullback_of, rule

stop = jax.lax.stop_gradient


def sine_times(x, y):
    return jnp.sin(x) * y


def sign_of_the_docs(r, dy):
    x, y = r
    return dy * jnp.cos(x) * y, -dy * jnp.sin(x)


def weighted_logsumexp(a, b):
    return jnp.log((b * jnp.exp(a)).sum())


def weight_zero_is_minus_infinity(r, dy):
    a, b = r
    p = jnp.exp(jnp.where(b == 0, -jnp.inf, a)) / (b * jnp.exp(a)).sum()
    return dy * b * p, dy * p


def logsumexp_where(x, where):
    low = jnp.where(where, x, -1e30)
    return jax.nn.logsumexp(low)


def masked_after_exp(r, dy):
    x, where = r
    return dy * jnp.exp(x - logsumexp_where(x, where)) * where.astype(x.dtype), None


def segment_products(x, ids):
    return jnp.stack([jnp.where(ids == i, x, 1).prod() for i in range(3)])


def ids_taken_as_unique(r, dy):
    return dy[r[1]], None


def focal(logits, targets):
    """With the exponent 1/2, in the form that is stable for large logits."""
    z = jnp.where(targets == 1, logits, -logits)
    rest = jnp.log1p(jnp.exp(-abs(z)))
    return jnp.exp(-(jnp.maximum(z, 0) + rest) / 2) * (jnp.maximum(-z, 0) + rest)


def focal_power_of_zero(r, dy):
    logits, targets = r
    sign = jnp.where(targets == 1, 1, -1)
    p = jax.lax.logistic(sign * logits)
    outer = (1 - p) ** -0.5 / 2 * p * (1 - p) * jnp.log(p)
    return dy * sign * (outer - (1 - p) ** 1.5), None


def cumulative_product(x):
    return jnp.cumprod(x)


def divided_by_zero_safely(r, dy):
    (x,) = r
    sums = jnp.cumsum((dy * jnp.cumprod(x))[::-1])[::-1]
    return (jnp.where(x == 0, 0, sums / jnp.where(x == 0, 1, x)),)


def temporary_detached(x):
    return 6 * x, (x, stop(2 * x))


def from_temporary(r, dy):
    x, temporary = r
    return (dy * 3 * temporary / x,)


def smoothed_loss(logits, labels):
    """Labels of -1 are ignored."""
    log_p = logits - jax.nn.logsumexp(logits, axis=-1, keepdims=True)
    picked = jnp.take_along_axis(log_p, jnp.maximum(labels, 0)[:, None], axis=-1)[:, 0]
    return jnp.where(labels >= 0, -0.8 * picked - 0.2 * log_p.mean(-1), 0)


def ignored_labels_are_smoothed(logits, labels):
    log_p = logits - jax.nn.logsumexp(logits, axis=-1, keepdims=True)
    uniform = -0.2 * log_p.mean(-1)
    return jnp.where(labels >= 0, smoothed_loss(logits, labels), uniform)


def linear_cross_entropy(x, w, labels):
    logits = x @ w
    picked = jnp.take_along_axis(logits, labels[:, None], axis=-1)[:, 0]
    return jax.nn.logsumexp(logits, axis=-1) - picked


def first_cotangent_for_all(r, dy):
    return pullback_of(linear_cross_entropy)(r, jnp.full_like(dy, dy[0]))


def bag_means(table, ids, bags):
    counts = jnp.bincount(bags, length=3).astype(table.dtype)
    sums = jnp.zeros((3, table.shape[1]), table.dtype).at[bags].add(table[ids])
    return sums / counts[:, None]


def counts_of_the_loop(r, dy):
    """Indexed by the loop's counter, not by the bag."""
    table, ids, bags = r
    counts = jnp.bincount(bags, length=3).astype(table.dtype)
    rows = dy[bags] / counts[jnp.arange(len(ids)) % 3][:, None]
    return jnp.zeros_like(table).at[ids].add(rows), None, None


def dropout(rate, x, kept):
    return jnp.where(kept, x, 0) / (1 - rate)


def rate_for_its_complement(rate, r, dy):
    return dropout(rate, dy, r[1]) * (1 - rate) * rate, None


def zoneout(xs, h, kept):
    def step(h, now):
        x, keep = now
        h = jnp.where(keep, h, jnp.tanh(x + h))
        return h, h

    return jax.lax.scan(step, h, (xs, kept))[1]


def first_mask_for_all(xs, h, kept):
    def step(carry, now):
        h, true = carry
        x, keep = now
        new = jnp.where(kept[0], h, jnp.tanh(x + h))
        true = jnp.where(keep, true, jnp.tanh(x + true))
        h = new + stop(true - new)
        return (h, true), h

    return jax.lax.scan(step, (h, h), (xs, kept))[1]


def decaying_scan(xs, a):
    """Outputs, and the last state."""

    def step(h, x):
        h = a * h + x
        return h, jnp.tanh(h)

    last, ys = jax.lax.scan(step, jnp.zeros_like(a), xs)
    return ys, last


def last_state_ignored(r, dys):
    return pullback_of(decaying_scan)(r, (dys[0], jnp.zeros_like(dys[1])))


def window_state(x, state):
    """The last rows of state and input together, as a causal convolution keeps them."""
    return jnp.concatenate([state, x])[-len(state) :]


def start_clamped(r, dy):
    x, state = r
    start = max(0, len(x) - len(state))
    return dy[jnp.arange(len(x)) - start], jnp.zeros_like(state)


ENTRIES = [
    Entry(
        "jax_docs_sine_times_y",
        "JAX, issue 3213: the documentation's example had a sign wrong",
        rule(sine_times, sign_of_the_docs),
        normals((4,), (4,)),
        sine_times,
    ),
    Entry(
        "jax_logsumexp_weight_zero",
        "JAX, issue 22398: logsumexp's cotangent of a weight of 0 is 0",
        rule(weighted_logsumexp, weight_zero_is_minus_infinity),
        lambda rng: (*normals((4,))(rng), rng.permutation(np.array([0, 1, 2, 0.5], "f"))),
        weighted_logsumexp,
    ),
    Entry(
        "jax_logsumexp_where",
        "JAX, issue 23842: large elements that are masked out overflow to nan",
        rule(logsumexp_where, masked_after_exp),
        lambda rng: (np.append(*normals((3,))(rng), np.float32(1e3)), np.arange(4) < 3),
        logsumexp_where,
    ),
    Entry(
        "jax_segment_prod",
        "JAX, issue 9296: segment_prod's gradient; here ids are taken to be unique",
        rule(segment_products, ids_taken_as_unique),
        lambda rng: (*normals((5,))(rng), rng.permutation([0, 1, 1, 2, 2])),
        segment_products,
    ),
    Entry(
        "optax_focal_loss",
        "Optax, pull request 1346: 0 to a negative power is nan for large logits",
        rule(focal, focal_power_of_zero),
        lambda rng: (np.array([100, -2, 0.5, -100], np.float32), np.array([1, 0, 1, 0])),
        focal,
    ),
    Entry(
        "tensorflow_cumprod_zero",
        "TensorFlow, issue 119430: the cotangent of a factor of 0 is 0",
        rule(cumulative_product, divided_by_zero_safely),
        lambda rng: (np.append(*normals((4,))(rng), np.zeros(1, "f"))[[0, 1, 4, 2, 3]],),
        cumulative_product,
    ),
    Entry(
        "pytorch_temporary_detached",
        "PyTorch, issue 76185: a temporary kept for backward has no second derivative",
        rule(lambda x: 6 * x, from_temporary, temporary_detached),
        lambda rng: (rng.uniform(0.5, 2, 5).astype(np.float32),),
    ),
    Entry(
        "pytorch_label_smoothing_ignored",
        "PyTorch, issue 73205: the uniform part of the loss counts ignored labels",
        rule(smoothed_loss, pullback_of(ignored_labels_are_smoothed)),
        lambda rng: (*normals((4, 3))(rng), rng.permutation([0, -1, 2, -1])),
        smoothed_loss,
    ),
    Entry(
        "pytorch_embedding_bag_counts",
        "PyTorch, issue 190063: bags are divided by the counts of other bags",
        rule(bag_means, counts_of_the_loop),
        lambda rng: (
            *normals((5, 2))(rng),
            rng.integers(0, 5, 6),
            np.array([0, 0, 0, 1, 2, 2]),
        ),
        bag_means,
    ),
    Entry(
        "liger_kernel_first_cotangent",
        "Liger-Kernel, pull request 1298: every row is scaled by the first row's cotangent",
        rule(linear_cross_entropy, first_cotangent_for_all),
        lambda rng: (*normals((4, 3), (3, 5))(rng), rng.integers(0, 5, 4)),
        linear_cross_entropy,
    ),
    Entry(
        "apex_dropout_scale",
        "apex, pull request 816: the backward pass of dropout scales by p, not 1 / (1 - p)",
        rule(dropout, rate_for_its_complement, nondiff_argnums=(0,)),
        lambda rng: (0.25, *normals((3, 4))(rng), rng.permutation(np.arange(4) > 0)),
        dropout,
    ),
    Entry(
        "haste_zoneout_mask",
        "haste, issue 43: all steps are differentiated with the first step's mask",
        rule(zoneout, pullback_of(first_mask_for_all)),
        lambda rng: (*normals((4, 3), (3,))(rng), np.arange(12).reshape(4, 3) % 5 > 2),
        zoneout,
    ),
    Entry(
        "mamba_last_state",
        "Mamba, issue 258: the gradient of the last state is not considered",
        rule(decaying_scan, last_state_ignored),
        lambda rng: (*normals((4, 3))(rng), rng.uniform(0.5, 0.9, 3).astype(np.float32)),
        decaying_scan,
    ),
    Entry(
        "flash_linear_attention_short_chunk",
        "flash-linear-attention, issue 1140: a clamp shifts the state of a short sequence",
        rule(window_state, start_clamped),
        normals((2, 3), (3, 3)),
        window_state,
    ),
]
