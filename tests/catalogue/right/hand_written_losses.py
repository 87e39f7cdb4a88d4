"""Losses and reductions, with rules from the textbook."""

import jax
import jax.numpy as jnp
import numpy as np

from tests.catalogue.entry import Entry, rule
from tests.catalogue.right import array, labels, normal, uniform


def softmax(x):
    e = jnp.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def softmax_bwd(p, dy):
    """The mean of dy under p comes off first."""
    return (p * (dy - jnp.einsum("...i,...i->...", p, dy)[..., None]),)


softmax_rule = rule(softmax, softmax_bwd, lambda x: (softmax(x),) * 2)


def naive_softmax(x):
    return jnp.exp(x) / jnp.exp(x).sum(-1, keepdims=True)


def logsumexp(x):
    top = x.max(-1)
    return top + jnp.log(jnp.exp(x - top[..., None]).sum(-1))


logsumexp_rule = rule(
    logsumexp, lambda r, dy: (dy[..., None] * jnp.exp(r[0] - logsumexp(r[0])[..., None]),)
)


def cross_entropy(logits, ids):
    picked = jnp.take_along_axis(logits, ids[:, None], 1)[:, 0]
    return logsumexp(logits) - picked


def cross_entropy_bwd(residuals, dy):
    logits, ids = residuals
    d = dy[:, None] * softmax(logits)
    return d.at[jnp.arange(len(ids)), ids].add(-dy), None


cross_entropy_rule = rule(cross_entropy, cross_entropy_bwd)


def fused(logits, hot):
    """Cross entropy from rows of 0 and 1, integers or booleans."""
    return -jnp.where(hot, logits - logsumexp(logits)[:, None], 0).sum(-1)


def fused_bwd(residuals, dy):
    """p - y, which is only right because each row of labels sums to 1."""
    logits, hot = residuals
    return dy[:, None] * (softmax(logits) - hot), None


fused_rule = rule(fused, fused_bwd)


def one_hot(rng, dtype):
    return array(np.eye(5)[rng.integers(0, 5, 4)], dtype)


def float_labels(logits, t):
    """Labels that need not sum to 1, with a cotangent of their own."""
    return t.sum(-1) * logsumexp(logits) - (t * logits).sum(-1)


def float_labels_bwd(residuals, dy):
    logits, t = residuals
    total, dy = t.sum(-1, keepdims=True), dy[:, None]
    dt = dy * (logsumexp(logits)[:, None] - logits)
    return dy * (total * softmax(logits) - t), dt


float_labels_rule = rule(float_labels, float_labels_bwd)


def smoothed_fwd(share, logits, ids):
    n = logits.shape[-1]
    t = (1 - share) * jax.nn.one_hot(ids, n, dtype=logits.dtype) + share / n
    return -(t * jax.nn.log_softmax(logits)).sum(-1), (softmax(logits) - t)


smoothed_rule = rule(
    lambda share, logits, ids: smoothed_fwd(share, logits, ids)[0],
    lambda share, d, dy: (d * dy[:, None], None),
    smoothed_fwd,
    nondiff_argnums=(0,),
)


def smoothed_reference(share, logits, ids):
    log_p = logits - logsumexp(logits)[:, None]
    picked = jnp.take_along_axis(log_p, ids[:, None], 1)[:, 0]
    return -(1 - share) * picked - share * log_p.mean(-1)


def binary(logits, target):
    return jnp.maximum(logits, 0) - logits * target + jnp.log1p(jnp.exp(-abs(logits)))


binary_rule = rule(binary, lambda r, dy: (dy * (jax.nn.sigmoid(r[0]) - r[1]), -dy * r[0]))


def mean_square(prediction, target):
    return ((prediction - target) ** 2).mean()


def mean_square_bwd(residuals, dy):
    prediction, target = residuals
    d = dy * (2 / prediction.size) * (prediction - target)
    return d, -d


mean_square_rule = rule(mean_square, mean_square_bwd)


def contrastive(a, b):
    """Both directions of matching rows (Radford et al., 2021)."""
    s = a @ b.T
    return 2 * jnp.trace(s) - logsumexp(s).sum() - logsumexp(s.T).sum()


def contrastive_bwd(residuals, dy):
    a, b = residuals
    s = a @ b.T
    ds = dy * (2 * jnp.eye(len(s), dtype=s.dtype) - softmax(s) - softmax(s.T).T)
    return ds @ b, ds.T @ a


contrastive_rule = rule(contrastive, contrastive_bwd)

ENTRIES = [
    Entry(
        "softmax",
        "A rule from the output; the reference is the naive quotient.",
        softmax_rule,
        lambda rng: (2 * normal(rng, 3, 5),),
        naive_softmax,
    ),
    Entry(
        "logsumexp",
        "The rule divides by the output's exponential.",
        logsumexp_rule,
        lambda rng: (2 * normal(rng, 3, 5),),
        lambda x: jnp.log(jnp.exp(x).sum(-1)),
    ),
    Entry(
        "cross_entropy",
        "Integer labels; the rule subtracts in place.",
        cross_entropy_rule,
        lambda rng: (2 * normal(rng, 4, 5), labels(rng, 5, 4)),
        lambda x, ids: -jnp.log(naive_softmax(x))[jnp.arange(4), ids],
    ),
    Entry(
        "fused_cross_entropy_integers",
        "The rule p - y holds because labels, integers, sum to 1.",
        fused_rule,
        lambda rng: (2 * normal(rng, 4, 5), one_hot(rng, "int32")),
        lambda x, hot: -(hot * jnp.log(naive_softmax(x))).sum(-1),
    ),
    Entry(
        "fused_cross_entropy_booleans",
        "The same with rows of booleans.",
        fused_rule,
        lambda rng: (2 * normal(rng, 4, 5), one_hot(rng, "bool")),
        lambda x, hot: -(hot * jnp.log(naive_softmax(x))).sum(-1),
    ),
    Entry(
        "cross_entropy_of_any_labels",
        "Float labels that do not sum to 1 and are differentiated.",
        float_labels_rule,
        lambda rng: (2 * normal(rng, 4, 5), uniform(rng, 0, 1, 4, 5)),
        lambda x, t: -(t * jnp.log(naive_softmax(x))).sum(-1),
    ),
    Entry(
        "label_smoothing",
        "A static share as first argument, and the gradient as residual.",
        smoothed_rule,
        lambda rng: (0.1, 2 * normal(rng, 4, 5), labels(rng, 5, 4)),
        smoothed_reference,
    ),
    Entry(
        "binary_cross_entropy",
        "Float targets are differentiated too.",
        binary_rule,
        lambda rng: (3 * normal(rng, 6), uniform(rng, 0, 1, 6)),
        lambda x, t: jnp.log1p(jnp.exp(x)) - t * x,
    ),
    Entry(
        "mean_square_error",
        "One output, two arguments of opposite cotangents.",
        mean_square_rule,
        lambda rng: (normal(rng, 4, 3), normal(rng, 4, 3)),
        lambda a, b: jnp.vdot(a - b, a - b) / a.size,
    ),
    Entry(
        "contrastive_loss",
        "Rows and columns of one product.",
        contrastive_rule,
        lambda rng: (normal(rng, 4, 3), normal(rng, 4, 3)),
        lambda a, b: (
            jnp.trace(jnp.log(naive_softmax(a @ b.T)))
            + jnp.trace(jnp.log(naive_softmax(b @ a.T)))
        ),
    ),
]
