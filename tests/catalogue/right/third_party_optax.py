"""optax's losses and projections as they are."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import optax
from jax.scipy.special import logsumexp, xlogy

from tests.catalogue.entry import Entry
from tests.catalogue.right import array, grid, labels, normal, uniform

losses = optax.losses
projections = optax.projections


def distribution(rng, *shape, dtype="float32"):
    """Probabilities along the last axis."""
    return array(rng.dirichlet([1.0] * shape[-1], shape[:-1]), dtype)


def pair(rng, *shape):
    return normal(rng, *shape), normal(rng, *shape)


def ctc(logits, padding, ids, label_padding):
    """Paddings are booleans here, so that they are not differentiated."""
    return losses.ctc_loss(logits, padding.astype(float), ids, label_padding.astype(float))


def safe_cross_entropy(logits, hot):
    return losses.safe_softmax_cross_entropy(logits, hot.astype(logits.dtype))


def tree_norm(tree):
    return optax.tree.norm(tree)


def in_unit_ball(tree):
    return projections.projection_l2_ball(tree, 1.0)


ENTRIES = [
    Entry(
        "optax_softmax_cross_entropy",
        "Labels are floats, differentiated, and sum to 1.",
        losses.softmax_cross_entropy,
        lambda rng: (2 * normal(rng, 4, 5), distribution(rng, 4, 5)),
        lambda x, t: t.sum(-1) * logsumexp(x, -1) - (t * x).sum(-1),
    ),
    Entry(
        "optax_softmax_cross_entropy_float16",
        "Both arguments in float16.",
        losses.softmax_cross_entropy,
        lambda rng: (
            normal(rng, 4, 5, dtype="float16"),
            distribution(rng, 4, 5, dtype="float16"),
        ),
    ),
    Entry(
        "optax_integer_labels",
        "Integer labels, bfloat16 logits.",
        losses.softmax_cross_entropy_with_integer_labels,
        lambda rng: (2 * normal(rng, 4, 5, dtype="bfloat16"), labels(rng, 5, 4)),
    ),
    Entry(
        "optax_safe_cross_entropy",
        "A logit of minus infinity whose label is 0, or False.",
        safe_cross_entropy,
        lambda rng: (
            array([[-np.inf, *row] for row in rng.standard_normal((3, 4))]),
            array(np.eye(5)[rng.integers(1, 5, 3)], "bool"),
        ),
    ),
    Entry(
        "optax_sigmoid_cross_entropy",
        "Logits of tens.",
        losses.sigmoid_binary_cross_entropy,
        lambda rng: (20 * normal(rng, 6), uniform(rng, 0, 1, 6)),
    ),
    Entry(
        "optax_focal_loss",
        "A power of a probability; integer labels.",
        losses.sigmoid_focal_loss,
        lambda rng: (2 * normal(rng, 6), labels(rng, 2, 6)),
    ),
    Entry(
        "optax_poly_loss",
        "Labels sum to 1.",
        losses.poly_loss_cross_entropy,
        lambda rng: (normal(rng, 4, 5), distribution(rng, 4, 5)),
    ),
    Entry(
        "optax_huber",
        "Errors on both sides of the corner, and at 0.",
        losses.huber_loss,
        lambda rng: (grid(rng, -3, 3, 9) / 2, grid(rng, -1, 1, 9) / 2),
    ),
    Entry(
        "optax_log_cosh",
        "Errors of hundreds beside small ones.",
        losses.log_cosh,
        lambda rng: (array([0.5, -1, *200 * rng.standard_normal(4)]), 0.1 * normal(rng, 6)),
    ),
    Entry(
        "optax_l2",
        "Without targets.",
        losses.l2_loss,
        lambda rng: (normal(rng, 6, dtype="bfloat16"),),
        lambda x: x**2 / 2,
    ),
    Entry(
        "optax_squared_error",
        "Two arguments.",
        losses.squared_error,
        lambda rng: pair(rng, 6),
    ),
    Entry(
        "optax_hinge",
        "Targets of -1 and 1, integers; scores off the corner.",
        losses.hinge_loss,
        lambda rng: (normal(rng, 6), 2 * labels(rng, 2, 6) - 1),
    ),
    Entry(
        "optax_hinge_at_the_corner",
        "Scores of exactly 1 and -1.",
        losses.hinge_loss,
        lambda rng: (grid(rng, -1, 1, 9), 2 * labels(rng, 2, 9) - 1),
    ),
    Entry(
        "optax_ctc",
        "A dynamic programme over alignments, with paddings.",
        ctc,
        lambda rng: (
            normal(rng, 2, 7, 4),
            array([[0] * 7, [0] * 5 + [1] * 2], "bool"),
            array(rng.integers(1, 4, (2, 3)), "int32"),
            array([[0, 0, 0], [0, 0, 1]], "bool"),
        ),
    ),
    Entry(
        "optax_cosine_similarity",
        "A safe norm, away from 0.",
        losses.cosine_similarity,
        lambda rng: pair(rng, 3, 5),
        lambda a, b: (a * b).sum(-1) / jnp.sqrt((a**2).sum(-1) * (b**2).sum(-1)),
    ),
    Entry(
        "optax_cosine_distance_float16",
        "In float16.",
        losses.cosine_distance,
        lambda rng: tuple(normal(rng, 3, 5, dtype="float16") for _ in range(2)),
    ),
    Entry(
        "optax_kl_divergence",
        "Logarithms of probabilities, and targets away from 0.",
        losses.kl_divergence,
        lambda rng: (np.log(distribution(rng, 3, 4)), uniform(rng, 0.1, 1, 3, 4)),
        lambda log_p, t: (xlogy(t, t) - t * log_p).sum(-1),
    ),
    Entry(
        "optax_kl_log_targets",
        "Both arguments are logarithms.",
        losses.kl_divergence_with_log_targets,
        lambda rng: pair(rng, 3, 4),
        lambda log_p, log_t: (jnp.exp(log_t) * (log_t - log_p)).sum(-1),
    ),
    Entry(
        "optax_generalized_kl",
        "Targets that do not sum to 1.",
        losses.generalized_kl_divergence,
        lambda rng: (normal(rng, 3, 4), 0.1 + distribution(rng, 3, 4)),
    ),
    Entry(
        "optax_triplet_margin",
        "A hinge of two norms.",
        losses.triplet_margin_loss,
        lambda rng: (*pair(rng, 3, 4), normal(rng, 3, 4)),
    ),
    Entry(
        "optax_ntxent",
        "All pairs of a batch, integer labels.",
        losses.ntxent,
        lambda rng: (normal(rng, 4, 3), array([0, 1, 0, 1], "int32")),
    ),
    Entry(
        "optax_sparsemax",
        "Piecewise quadratic; integer labels.",
        losses.sparsemax_loss,
        lambda rng: (normal(rng, 6), labels(rng, 2, 6)),
    ),
    Entry(
        "optax_multiclass_sparsemax",
        "A custom_jvp rule inside that, with x64 on, raises for float32 arguments.",
        losses.multiclass_sparsemax_loss,
        lambda rng: (normal(rng, 4, 5), labels(rng, 5, 4)),
    ),
    Entry(
        "optax_dice",
        "A ratio of sums.",
        losses.dice_loss,
        lambda rng: (normal(rng, 2, 6), uniform(rng, 0, 1, 2, 6)),
    ),
    Entry(
        "optax_smooth_labels",
        "A static share.",
        losses.smooth_labels,
        lambda rng: (distribution(rng, 3, 4), 0.1),
    ),
    Entry(
        "optax_projection_simplex",
        "Piecewise linear; with x64 on, it raises for float32 arguments.",
        projections.projection_simplex,
        lambda rng: (normal(rng, 6),),
    ),
    Entry(
        "optax_projection_of_a_tree",
        "A dict, projected on a ball.",
        in_unit_ball,
        lambda rng: ({"a": normal(rng, 3), "b": normal(rng, 2, 2)},),
    ),
    Entry(
        "optax_tree_norm",
        "The norm of all leaves together.",
        tree_norm,
        lambda rng: ({"a": normal(rng, 3), "b": [normal(rng, 2, 2), normal(rng)]},),
    ),
    Entry(
        "optax_safe_norm",
        "At 0, where the norm is held up.",
        partial(optax.safe_norm, min_norm=0.1, axis=-1),
        lambda rng: (array([[0.0] * 3, rng.standard_normal(3)]),),
    ),
]
