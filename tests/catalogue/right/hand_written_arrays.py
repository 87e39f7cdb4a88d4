"""Running sums, segments and matrices, with rules from the literature."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from tests.catalogue.entry import Entry, rule
from tests.catalogue.right import array, labels, normal, uniform


def gaussian_loss(mu, log_var, x):
    """The negative log likelihood."""
    return (log_var + (x - mu) ** 2 * jnp.exp(-log_var) + math.log(2 * math.pi)) / 2


def gaussian_loss_bwd(residuals, dy):
    mu, log_var, x = residuals
    z = (x - mu) * jnp.exp(-log_var)
    return -dy * z, dy * (1 - (x - mu) * z) / 2, dy * z


gaussian_loss_rule = rule(gaussian_loss, gaussian_loss_bwd)


def cosine(a, b):
    return (a * b).sum(-1) / jnp.sqrt((a**2).sum(-1) * (b**2).sum(-1))


def cosine_bwd(residuals, dy):
    a, b = residuals
    y, dy = cosine(a, b)[:, None], dy[:, None]
    aa, bb = (a**2).sum(-1, keepdims=True), (b**2).sum(-1, keepdims=True)
    root = jnp.sqrt(aa * bb)
    return dy * (b / root - y * a / aa), dy * (a / root - y * b / bb)


cosine_rule = rule(cosine, cosine_bwd)
cumsum_rule = rule(
    lambda x: jnp.cumsum(x, -1),
    lambda _, dy: (dy.sum(-1, keepdims=True) - jnp.cumsum(dy, -1) + dy,),
)


def cumprod_bwd(residuals, dy):
    """For elements that are not 0."""
    (x,) = residuals
    terms = dy * jnp.cumprod(x)
    return (jnp.cumsum(terms[::-1])[::-1] / x,)


cumprod_rule = rule(lambda x: jnp.cumprod(x), cumprod_bwd)


def segment_mean(x, ids):
    """The mean of the rows that share a number; three segments, which may be empty."""
    total = jax.ops.segment_sum(x, ids, 3)
    count = jax.ops.segment_sum(jnp.ones(len(ids), x.dtype), ids, 3)
    return total / jnp.maximum(count, 1)[:, None]


def segment_mean_bwd(residuals, dy):
    _, ids = residuals
    share = 1 / jnp.maximum(jnp.bincount(ids, length=3), 1).astype(dy.dtype)
    return (dy * share[:, None])[ids], None


segment_mean_rule = rule(segment_mean, segment_mean_bwd)


def log_det(a):
    return jnp.linalg.slogdet(a)[1]


log_det_rule = rule(log_det, lambda r, dy: (dy * jnp.linalg.inv(r[0]).T,))


def cholesky(a):
    return jnp.linalg.cholesky((a + a.T) / 2, symmetrize_input=False)


def cholesky_bwd(factor, dy):
    """In terms of the factor (Murray, 2016, arXiv:1602.07527)."""
    n = len(factor)
    phi = jnp.tril(factor.T @ jnp.tril(dy)) * (1 - jnp.eye(n, dtype=dy.dtype) / 2)
    inverse = jnp.linalg.inv(factor)
    d = inverse.T @ phi @ inverse
    return ((d + d.T) / 2,)


cholesky_rule = rule(cholesky, cholesky_bwd, lambda a: (cholesky(a),) * 2)


def expm(a):
    """A Taylor polynomial of a / 16, squared four times."""
    term = y = jnp.eye(len(a), dtype=a.dtype)
    for k in range(1, 15):
        term = term @ a / (16 * k)
        y = y + term
    for _ in range(4):
        y = y @ y
    return y


def expm_bwd(residuals, dy):
    """A corner of the exponential of a block matrix (Mathias, 1996)."""
    (a,) = residuals
    n, size = len(a), jax.lax.stop_gradient(abs(dy).max())
    size = jnp.where(size == 0, 1, size)
    block = jnp.block([[a.T, dy / size], [jnp.zeros_like(a), a.T]])
    return (size * expm(block)[:n, n:],)


expm_rule = rule(expm, expm_bwd)

ENTRIES = [
    Entry(
        "gaussian_likelihood",
        "Three arguments, one inside an exponential.",
        gaussian_loss_rule,
        lambda rng: tuple(normal(rng, 6) for _ in range(3)),
        lambda mu, log_var, x: -jax.scipy.stats.norm.logpdf(x, mu, jnp.exp(log_var / 2)),
    ),
    Entry(
        "cosine_similarity",
        "Invariant to each argument's length.",
        cosine_rule,
        lambda rng: (normal(rng, 3, 5), normal(rng, 3, 5)),
        lambda a, b: (
            (a * b).sum(-1) / (jnp.linalg.norm(a, axis=-1) * jnp.linalg.norm(b, axis=-1))
        ),
    ),
    Entry(
        "cumsum_by_difference",
        "The reversed sum as the total less the sum so far.",
        cumsum_rule,
        lambda rng: (normal(rng, 2, 9),),
        lambda x: x @ jnp.triu(jnp.ones((9, 9), x.dtype)),
    ),
    Entry(
        "cumprod_by_division",
        "Divides by elements of 0.5 and more.",
        cumprod_rule,
        lambda rng: (uniform(rng, 0.5, 2, 8) * array(rng.choice([-1, 1], 8)),),
        lambda x: jnp.stack([jnp.prod(x[: i + 1]) for i in range(8)]),
    ),
    Entry(
        "segment_mean",
        "Counts of integers; the last segment is empty.",
        segment_mean_rule,
        lambda rng: (normal(rng, 7, 2), labels(rng, 2, 7)),
        segment_mean,
    ),
    Entry(
        "log_determinant",
        "The inverse, transposed.",
        log_det_rule,
        lambda rng: (normal(rng, 4, 4),),
        lambda a: jnp.log(abs(jnp.linalg.det(a))),
    ),
    Entry(
        "cholesky",
        "A triangular output, a symmetric cotangent.",
        cholesky_rule,
        lambda rng: (array(np.eye(4) * 2 + 0.3 * rng.standard_normal((4, 4))),),
        jnp.linalg.cholesky,
    ),
    Entry(
        "matrix_exponential",
        "The rule is another matrix exponential, of twice the size.",
        expm_rule,
        lambda rng: (0.5 * normal(rng, 3, 3),),
        expm,
    ),
]
