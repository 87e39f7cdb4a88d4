r"""Cross entropy of probabilities, for a model that ends in softmax already.

**Forward.** For probabilities $p$ and label probabilities $t$ over the last axis,

$$\ell = -\sum_i t_i \log(p_i + \epsilon).$$

An integer label is the probability 1 of its class. $\epsilon$ guards $\log 0$: the loss is
at most $-\log\epsilon$ for each unit of label and the gradient at most $1/\epsilon$. From
logits, `softmax_cross_entropy` needs no guard and loses no digits.

**Backward.** $\ell$ is a number for each row, so the pullback reads off the partial
derivatives:

$$\bar p_i = -\bar\ell\,\frac{t_i}{p_i + \epsilon}, \qquad
\bar t_i = -\bar\ell\,\log(p_i + \epsilon).$$

**Residuals.** The labels and $p$, both inputs; of integer labels the probability of each
one's class is all that is held of $p$.

**Hard points.** With $\epsilon = 0$, a class with $p = t = 0$ adds nothing to the loss nor
to any cotangent. Integer labels outside $[0, C)$ give NaN.
"""

from functools import partial

import jax
import jax.numpy as jnp

from funcnn.foundation._checks import as_labels, float_arrays, number
from funcnn.foundation._cotangents import Like, cast_like
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._dtypes import upcast
from funcnn.kernels._labels import in_range, one_hot


@partial(custom_vjp, nondiff_argnums=(2,))
def cross_entropy(probs: jax.Array, labels: jax.Array, eps: float = 1e-10) -> jax.Array:
    """Cross entropy between labels and probabilities, for each example.

    Args:
        probs: shape `(..., C)`, not negative.
        labels: integers of shape `(...)`, or probabilities of shape `(..., C)`, which are
            differentiated and need not sum to 1.
        eps: added to each probability, at least 0.

    Returns:
        Losses of shape `(...)`, in nats, in at least float32.

    Raises:
        TypeError: if an array has the wrong kind of dtype.
        ValueError: if the shapes do not fit or `eps` is negative.
    """
    return cross_entropy_fwd(probs, labels, eps)[0]


def cross_entropy_fwd(probs, labels, eps):
    (probs,) = float_arrays("cross_entropy", probs=probs)
    labels = as_labels("cross_entropy", "probs", probs, labels)
    eps = number("cross_entropy", "eps", eps, low=0.0)
    if jnp.issubdtype(labels.dtype, jnp.integer):
        index, known = in_range(labels, probs.shape[-1])
        p = jnp.take_along_axis(probs, jnp.where(known, index, 0), -1)
        loss = jnp.where(known, -jnp.log(upcast(p) + float(eps)), jnp.nan)[..., 0]
        return loss, (Like.of(probs), labels, p)
    p, absent = guarded(probs, labels, eps)
    loss = -jnp.where(absent, 0, labels.astype(p.dtype) * jnp.log(p)).sum(-1)
    return loss, (probs, labels, None)


def cross_entropy_bwd(eps, residuals, dy):
    probs, labels, p = residuals
    dy = dy[..., None]
    if jnp.issubdtype(labels.dtype, jnp.integer):
        index, known = in_range(labels, probs.shape[-1])
        slope = jnp.where(known, -dy / (upcast(p) + float(eps)), jnp.nan)
        dprobs = jnp.where(one_hot(index, probs) | ~known, slope, 0)
        return cast_like((dprobs, None), (probs, labels))
    p, absent = guarded(probs, labels, eps)
    dprobs = jnp.where(absent, 0, -dy * labels.astype(p.dtype) / p)
    dlabels = jnp.where(absent, 0, -dy * jnp.log(p))
    return cast_like((dprobs, dlabels), (probs, labels))


cross_entropy.defvjp(cross_entropy_fwd, cross_entropy_bwd)


def guarded(probs, t, eps):
    """Probabilities with `eps` added, and where there is neither any nor a label."""
    p = upcast(probs) + float(eps)
    absent = (p == 0) & (t == 0)
    return jnp.where(absent, 1, p), absent


def cross_entropy_reference(probs, labels, eps=1e-10):
    """The definition, left to `jax.grad`; classes that are absent are left out."""
    if jnp.issubdtype(labels.dtype, jnp.integer):
        labels = jnp.eye(probs.shape[-1])[labels]
    left_out = (probs + eps == 0) & (labels == 0)
    log_p = jnp.log(jnp.where(left_out, 1, probs) + jnp.where(left_out, 0, eps))
    return -jnp.where(left_out, 0, labels * log_p).sum(-1)


def cross_entropy_cases(rng):
    """Arguments on which every claim is tested."""
    p = rng.dirichlet(jnp.ones(4), 3)
    t = rng.dirichlet(jnp.ones(4), 3)
    ids = rng.integers(0, 4, 3)
    gap = p.copy()
    gap[:, 1] = 0
    return {
        "integer labels": (p, ids),
        "probabilities": (p, t),
        "not summing to 1": (p, 3 * t),
        "large eps": (p, ids, 0.1),
        "guarded": (gap, t, 1e-3),
        "absent class": (gap, t * (gap > 0), 0.0),
        "sequence": (rng.dirichlet(jnp.ones(4), (2, 3)), rng.integers(0, 4, (2, 3))),
        "one example": (p[0], ids[0]),
        "empty batch": (p[:0], ids[:0]),
    }
