"""Overflow, underflow and missing values, where the naive definition breaks."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from tests.catalogue.entry import Entry, rule
from tests.catalogue.right import array, labels, normal, uniform


def softplus(x):
    return jnp.logaddexp(x, 0)


softplus_rule = rule(softplus, lambda r, dy: (dy * jax.nn.sigmoid(r[0]),))


def sigmoid(x):
    return jax.lax.logistic(x)


sigmoid_rule = rule(sigmoid, lambda y, dy: (dy * y * (1 - y),), lambda x: (sigmoid(x),) * 2)


def masked_mean(x, mask):
    """The mean of a row's valid elements; 0 if there are none."""
    return jnp.where(mask, x, 0).sum(-1) / jnp.maximum(mask.sum(-1), 1)


def masked_mean_bwd(residuals, dy):
    _, mask = residuals
    return jnp.where(mask, (dy / jnp.maximum(mask.sum(-1), 1))[:, None], 0), None


masked_mean_rule = rule(masked_mean, masked_mean_bwd)


def masked_mean_naive(x, mask):
    mean = jnp.where(mask, x, 0).sum(-1) / mask.sum(-1)
    return jnp.where(mask.any(-1), mean, 0)


def log_1m_exp(x):
    """log(1 - exp(-x)) for positive x (Maechler, 2012)."""
    small = x < math.log(2)
    return jnp.where(small, jnp.log(-jnp.expm1(-x)), jnp.log1p(-jnp.exp(-x)))


log_1m_exp_rule = rule(log_1m_exp, lambda r, dy: (dy / jnp.expm1(r[0]),))


def logits_loss(logits, target):
    """Binary cross entropy; integer targets."""
    return jnp.logaddexp(logits, 0) - target * logits


logits_loss_rule = rule(
    logits_loss, lambda r, dy: (dy * (jax.nn.sigmoid(r[0]) - r[1]), None)
)


def logits_loss_naive(logits, target):
    p = 1 / (1 + jnp.exp(-logits))
    return -jnp.where(target == 1, jnp.log(p), jnp.log(1 - p))


def masked_softmax(x, mask):
    """0 where masked, also in a row masked throughout."""
    top = jnp.where(mask, x, -jnp.inf).max(-1, keepdims=True)
    e = jnp.where(mask, jnp.exp(x - jnp.where(mask.any(-1, keepdims=True), top, 0)), 0)
    total = e.sum(-1, keepdims=True)
    return e / jnp.where(total == 0, 1, total)


def masked_softmax_bwd(residuals, dy):
    p = masked_softmax(*residuals)
    return p * (dy - (p * dy).sum(-1, keepdims=True)), None


masked_softmax_rule = rule(masked_softmax, masked_softmax_bwd)


def mask_args(rng):
    mask = rng.random((4, 5)) < 0.6
    mask[0] = False
    mask[1, 0] = True
    return 3 * normal(rng, 4, 5), mask


def infinite_logits(rng):
    x = normal(rng, 3, 5)
    x[0, :2] = -np.inf
    x[1, 4] = -np.inf
    return (x,)


def log_normaliser(x):
    return jax.nn.logsumexp(x, -1)


def log_normaliser_bwd(residuals, dy):
    return (dy[:, None] * jax.nn.softmax(residuals[0]),)


log_normaliser_rule = rule(log_normaliser, log_normaliser_bwd)


def known_error(prediction, target):
    """Mean squared error over the targets that are not NaN."""
    error = jnp.where(jnp.isnan(target), 0, prediction - target)
    return (error**2).sum() / jnp.maximum((~jnp.isnan(target)).sum(), 1)


def known_error_bwd(residuals, dy):
    prediction, target = residuals
    known = ~jnp.isnan(target)
    error = jnp.where(known, prediction - target, 0)
    d = 2 * dy * error / jnp.maximum(known.sum(), 1)
    return d, -d


known_error_rule = rule(known_error, known_error_bwd)


def known_error_naive(prediction, target):
    known = ~jnp.isnan(target)
    return jnp.where(known, (prediction - target) ** 2, 0).sum() / known.sum()


def missing_args(rng):
    target = normal(rng, 4, 3)
    target[0, 0] = target[2] = np.nan
    return normal(rng, 4, 3), target


log_rule = rule(jnp.log, lambda r, dy: (dy / r[0],))


def picked(x, ids):
    """The picked class's probability, with no logarithm to go to minus infinity."""
    return jnp.exp(jnp.take_along_axis(jax.nn.log_softmax(x), ids[:, None], 1)[:, 0])


def picked_bwd(residuals, dy):
    x, ids = residuals
    p = jax.nn.softmax(x)
    hot = jax.nn.one_hot(ids, x.shape[-1], dtype=x.dtype)
    return ((dy * picked(x, ids))[:, None] * (hot - p), None)


picked_rule = rule(picked, picked_bwd)

ENTRIES = [
    Entry(
        "softplus_at_1e4",
        "The naive reference overflows.",
        softplus_rule,
        lambda rng: (array([1e4, -1e4, *rng.uniform(-3, 3, 4)]),),
        lambda x: jnp.log(1 + jnp.exp(x)),
    ),
    Entry(
        "sigmoid_at_1e4",
        "The naive reference's gradient is NaN at -1e4.",
        sigmoid_rule,
        lambda rng: (array([1e4, -1e4, *rng.uniform(-3, 3, 4)]),),
        lambda x: 1 / (1 + jnp.exp(-x)),
    ),
    Entry(
        "mean_of_nothing",
        "A row with no valid element.",
        masked_mean_rule,
        mask_args,
        masked_mean_naive,
    ),
    Entry(
        "log_1m_exp",
        "Two formulas; the naive one loses all digits at both ends.",
        log_1m_exp_rule,
        lambda rng: (array([1e-5, 50, *rng.uniform(0.1, 3, 4)]),),
        lambda x: jnp.log(1 - jnp.exp(-x)),
    ),
    Entry(
        "binary_loss_at_1e4",
        "Probabilities of exactly 0 and 1, from integer targets.",
        logits_loss_rule,
        lambda rng: (array([1e4, -1e4, *rng.standard_normal(4)]), labels(rng, 2, 6)),
        logits_loss_naive,
    ),
    Entry(
        "softmax_of_nothing",
        "A row that is masked throughout.",
        masked_softmax_rule,
        mask_args,
        lambda x, mask: jax.nn.softmax(x, where=mask),
    ),
    Entry(
        "logits_of_minus_infinity",
        "Arguments that are infinite, whose derivatives are 0.",
        log_normaliser_rule,
        infinite_logits,
        lambda x: jnp.log(jnp.exp(x).sum(-1)),
    ),
    Entry(
        "targets_of_nan",
        "Missing targets are NaN and have no part in the loss.",
        known_error_rule,
        missing_args,
        known_error_naive,
    ),
    Entry(
        "log_of_tiny",
        "Numbers of 1e-18, derivatives of 1e18.",
        log_rule,
        lambda rng: (1e-18 * uniform(rng, 1, 9, 6),),
        lambda x: jnp.log(x * 1e18) - 18 * math.log(10),
    ),
    Entry(
        "probability_underflow",
        "Logits hundreds apart: probabilities and derivatives of exactly 0.",
        picked_rule,
        lambda rng: (
            normal(rng, 4, 5) * array([[1], [1], [300], [300]]),
            labels(rng, 5, 4),
        ),
        lambda x, ids: jax.nn.softmax(x)[jnp.arange(4), ids],
    ),
]
