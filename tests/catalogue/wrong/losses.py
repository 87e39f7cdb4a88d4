"""Losses other than cross entropies."""

import jax
import jax.numpy as jnp
import numpy as np

from ..entry import Entry, normals, pullback_of, rule


def log_softmax(x):
    return x - jax.nn.logsumexp(x, axis=-1, keepdims=True)


def pick(x, labels):
    return jnp.take_along_axis(x, labels[:, None], axis=-1)[:, 0]


def one_hot(labels, like):
    return jax.nn.one_hot(labels, like.shape[-1], dtype=like.dtype)


def mean_squared_error(prediction, target):
    return ((prediction - target) ** 2).mean()


def without_two(r, dy):
    difference = dy * (r[0] - r[1]) / r[0].size
    return difference, -difference


def target_has_the_same_sign(r, dy):
    difference = 2 * dy * (r[0] - r[1]) / r[0].size
    return difference, difference


def huber(delta, x):
    a = abs(x)
    return jnp.where(a < delta, x**2 / 2, delta * (a - delta / 2))


def huber_tail_of_one(delta, r, dy):
    return (dy * jnp.where(abs(r[0]) < delta, r[0], jnp.sign(r[0])),)


def hinge(scores, labels):
    true = pick(scores, labels)[:, None]
    margins = jnp.maximum(scores - true + 1, 0)
    return (margins * (1 - one_hot(labels, scores))).sum(-1)


def true_class_pushed_once(r, dy):
    scores, labels = r
    hot = one_hot(labels, scores)
    active = (scores - pick(scores, labels)[:, None] + 1 > 0).astype(scores.dtype)
    return dy[:, None] * (active * (1 - hot) - hot), None


def kl_divergence(p, q):
    return (p * jnp.log(p / q)).sum(-1)


def kl_slope_without_one(r, dy):
    p, q = r
    return dy[:, None] * jnp.log(p / q), -dy[:, None] * p / q


def distributions(rng):
    p, q = rng.uniform(0.1, 0.9, (2, 3, 4)).astype(np.float32)
    return p / p.sum(-1, keepdims=True), q / q.sum(-1, keepdims=True)


def contrastive(a, b):
    return -jnp.diagonal(log_softmax(a @ b.T)).mean()


def keys_only_as_positives(r, dy):
    a = r[0]
    return pullback_of(contrastive)(r, dy)[0], -dy * a / len(a)


def dice(p, targets):
    return 1 - 2 * (p * targets).sum() / (p.sum() + targets.sum())


def denominator_constant(r, dy):
    p, targets = r
    _, dtargets = pullback_of(dice)(r, dy)
    return -2 * dy * targets / (p.sum() + targets.sum()), dtargets


def masked_mean(losses, mask):
    return (losses * mask).sum() / mask.sum()


def mask_forgotten(r, dy):
    dlosses, dmask = pullback_of(masked_mean)(r, dy)
    return jnp.full_like(dlosses, dlosses.mean()), dmask


def labelled(rng):
    return rng.standard_normal((4, 5), np.float32), rng.integers(0, 5, 4)


def residuals(rng):
    return 2.0, rng.permutation(np.linspace(-5, 5.5, 12, dtype=np.float32))


def maskable(rng):
    mask = np.array([1, 0, 0.5, 1, 1, 0], np.float32)
    return rng.standard_normal(6, np.float32), mask


ENTRIES = [
    Entry(
        "mean_squared_error_without_two",
        "the factor 2 of the square is missing",
        rule(mean_squared_error, without_two),
        normals((3, 4), (3, 4)),
        mean_squared_error,
    ),
    Entry(
        "mean_squared_error_target_sign",
        "the target's cotangent has the prediction's sign",
        rule(mean_squared_error, target_has_the_same_sign),
        normals((3, 4), (3, 4)),
        mean_squared_error,
    ),
    Entry(
        "huber_slope_of_one_in_the_tails",
        "beyond delta the slope is 1, not delta",
        rule(huber, huber_tail_of_one, nondiff_argnums=(0,)),
        residuals,
        huber,
    ),
    Entry(
        "hinge_true_class_pushed_once",
        "the true class is pushed once, not once for each class within the margin",
        rule(hinge, true_class_pushed_once),
        labelled,
        hinge,
    ),
    Entry(
        "kl_divergence_slope_without_one",
        "the first distribution's slope log(p / q) + 1 lacks its 1",
        rule(kl_divergence, kl_slope_without_one),
        distributions,
        kl_divergence,
    ),
    Entry(
        "contrastive_keys_only_as_positives",
        "keys get no cotangent from the pairs in which they are negatives",
        rule(contrastive, keys_only_as_positives),
        normals((4, 3), (4, 3)),
        contrastive,
    ),
    Entry(
        "dice_denominator_constant",
        "the prediction in the denominator is taken to be a constant",
        rule(dice, denominator_constant),
        lambda rng: tuple(rng.uniform(0.1, 0.9, (2, 8)).astype(np.float32)),
        dice,
    ),
    Entry(
        "masked_mean_cotangent_not_masked",
        "the cotangent is spread evenly over what is masked out, too",
        rule(masked_mean, mask_forgotten),
        maskable,
        masked_mean,
    ),
]
