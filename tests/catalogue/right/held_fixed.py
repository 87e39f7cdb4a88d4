"""Arguments that are not differentiated: static values, integers, booleans, keys."""

from functools import partial

import jax
import jax.numpy as jnp

from tests.catalogue.entry import Entry, rule
from tests.catalogue.right import array, labels, normal


def reduce(x, how, axis):
    return (x**2).mean(axis) if how == "mean" else (x**2).sum(axis)


def reduce_bwd(how, axis, residuals, dy):
    (x,) = residuals
    dx = 2 * x * jnp.expand_dims(dy, axis)
    return (dx / x.shape[axis] if how == "mean" else dx,)


reduce_rule = rule(reduce, reduce_bwd, nondiff_argnums=(1, 2))


def twice(function, x):
    return function(function(x))


def twice_bwd(function, residuals, dy):
    (x,) = residuals
    y, inner = jax.vjp(function, x)
    return inner(*jax.vjp(function, y)[1](dy))


twice_rule = rule(twice, twice_bwd, nondiff_argnums=(0,))


def weighted_by(weights):
    """A rule that closes over numbers."""

    def f(x):
        return (jnp.array(weights, x.dtype) * x**3).sum(-1)

    def bwd(residuals, dy):
        (x,) = residuals
        return (3 * dy[..., None] * jnp.array(weights, x.dtype) * x**2,)

    return rule(f, bwd)


weighted_rule = weighted_by([0.5, -1.0, 2.0])


def picked_loss(logits, ids, weights):
    """The mean over examples, weighted by a static tuple of class weights."""
    log_p = jax.nn.log_softmax(logits)
    picked = jnp.take_along_axis(log_p, ids[:, None], 1)[:, 0]
    return -(jnp.array(weights, logits.dtype)[ids] * picked).mean()


def picked_loss_bwd(weights, residuals, dy):
    logits, ids = residuals
    p = jax.nn.softmax(logits) - jax.nn.one_hot(ids, logits.shape[1], dtype=logits.dtype)
    scale = dy * jnp.array(weights, logits.dtype)[ids] / ids.size
    return p * scale[:, None], None


picked_loss_rule = rule(picked_loss, picked_loss_bwd, nondiff_argnums=(2,))


def select_rows(x, keep):
    return jnp.where(keep[:, None], jnp.tanh(x), x)


def select_rows_bwd(residuals, dy):
    x, keep = residuals
    return dy * jnp.where(keep[:, None], 1 - jnp.tanh(x) ** 2, 1), None


select_rows_rule = rule(select_rows, select_rows_bwd)


def dropout(key, x, rate):
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)


dropout_rule = rule(
    dropout, lambda rate, r, dy: (None, dropout(r[0], dy, rate)), nondiff_argnums=(2,)
)


def perturb(keys, x):
    """One key for each row, and multiplicative noise."""
    noise = jax.vmap(lambda key: jax.random.normal(key, x.shape[1:], x.dtype))(keys)
    return x * jnp.exp(noise)


perturb_rule = rule(perturb, lambda r, dy: (None, perturb(r[0], dy)))


def gumbel_softmax(key, logits, temperature):
    noise = jax.random.gumbel(key, logits.shape, jnp.float32).astype(logits.dtype)
    return jax.nn.softmax((logits + noise) / temperature)


power_rule = rule(
    lambda x, n: x**n, lambda n, r, dy: (n * r[0] ** (n - 1) * dy,), nondiff_argnums=(1,)
)

ENTRIES = [
    Entry(
        "static_string_and_axis",
        "Arguments that are not differentiable come first in the rule.",
        reduce_rule,
        lambda rng: (normal(rng, 3, 4), "mean", 0),
        reduce,
    ),
    Entry(
        "function_as_argument",
        "The rule differentiates its argument, a function.",
        twice_rule,
        lambda rng: (jnp.sin, normal(rng, 4)),
        twice,
    ),
    Entry(
        "closure",
        "The rule closes over numbers.",
        weighted_rule,
        lambda rng: (normal(rng, 2, 3),),
    ),
    Entry(
        "partial",
        "A functools.partial has no name.",
        partial(reduce_rule, how="sum", axis=-1),
        lambda rng: (normal(rng, 3, 4),),
        lambda x: (x**2).sum(-1),
    ),
    Entry(
        "integer_labels_and_static_weights",
        "Labels are integers, class weights a Python tuple.",
        picked_loss_rule,
        lambda rng: (normal(rng, 5, 3), labels(rng, 3, 5), (0.5, 1.0, 2.0)),
        picked_loss,
    ),
    Entry(
        "boolean_mask",
        "Rows are chosen by booleans.",
        select_rows_rule,
        lambda rng: (normal(rng, 5, 3), rng.random(5) < 0.5),
        select_rows,
    ),
    Entry(
        "dropout_with_a_key",
        "The mask is drawn again in the rule; it is another one with x64 on.",
        dropout_rule,
        lambda rng: (jax.random.key(rng.integers(1 << 31)), normal(rng, 4, 5), 0.3),
        dropout,
    ),
    Entry(
        "dropout_with_a_raw_key",
        "A key of two unsigned integers; the mask is another one with x64 on.",
        dropout_rule,
        lambda rng: (array(rng.integers(0, 1 << 31, 2), "uint32"), normal(rng, 4, 5), 0.5),
        dropout,
    ),
    Entry(
        "keys_mapped_over",
        "An array of keys, one a row; noise has the dtype of x, and differs with it.",
        perturb_rule,
        lambda rng: (
            jax.random.split(jax.random.key(rng.integers(99)), 3),
            normal(rng, 3, 4),
        ),
        perturb,
    ),
    Entry(
        "gumbel_softmax",
        "No custom rule; random numbers added to logits, divided by a Python float.",
        gumbel_softmax,
        lambda rng: (jax.random.key(rng.integers(1 << 31)), normal(rng, 3, 5), 0.7),
    ),
    Entry(
        "static_integer_exponent",
        "A Python integer that only works as one.",
        power_rule,
        lambda rng: (normal(rng, 4), 3),
        lambda x, n: jnp.prod(jnp.stack([x] * n), 0),
    ),
]
