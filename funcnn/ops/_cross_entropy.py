r"""Cross entropy of probabilities, for a model that ends in softmax already.

**Forward.** For probabilities $p$ and label probabilities $t$ over the last axis,

$$\ell = -w \sum_i t_i \log(p_i + \epsilon).$$

An integer label is the probability 1 of its class, $w$ the weight of the example, 1 unless
it is given. $\epsilon$ guards $\log 0$: the loss is
at most $-\log\epsilon$ for each unit of label and the gradient at most $1/\epsilon$. From
logits, `softmax_cross_entropy` needs no guard and loses no digits.

**Backward.** $\ell$ is a number for each row, so the pullback reads off the partial
derivatives:

$$\bar p_i = -\bar\ell\,w\,\frac{t_i}{p_i + \epsilon}, \qquad
\bar t_i = -\bar\ell\,w\,\log(p_i + \epsilon), \qquad
\bar w = -\bar\ell \sum_i t_i \log(p_i + \epsilon).$$

**Residuals.** The labels and $p$, both inputs; of integer labels the probability of each
one's class is all that is held of $p$. With weights, they and the loss without them.

**Hard points.** With $\epsilon = 0$, a class with $p = t = 0$ adds nothing to the loss nor
to any cotangent. Integer labels outside $[0, C)$ give NaN. Where a label is ignored or a
weight is 0, the loss and the cotangents of its row are exactly 0, whatever is in the row.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from funcnn.foundation._checks import (
    as_labels,
    as_weights,
    float_arrays,
    ignored,
    number,
)
from funcnn.foundation._cotangents import Like, cast_like
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._dtypes import upcast
from funcnn.kernels._labels import counted, in_range, one_hot, read, weighted


@partial(custom_vjp, nondiff_argnums=(2, 3))
def cross_entropy(
    probs: jax.Array,
    labels: jax.Array,
    eps: float = 1e-10,
    ignore: int | tuple[int, ...] | None = None,
    weights: jax.Array | None = None,
) -> jax.Array:
    """Cross entropy between labels and probabilities, for each example.

    Args:
        probs: shape `(..., C)`, not negative, of at least two classes.
        labels: integers of shape `(...)`, or probabilities of shape `(..., C)`, which are
            differentiated and need not sum to 1.
        eps: added to each probability, at least 0.
        ignore: an integer label, or a tuple of them, whose examples have loss 0 and add to
            no cotangent.
        weights: shape `(...)`, by which losses are multiplied. Of weight 0, loss and
            cotangents are 0 whatever the probabilities are.

    Returns:
        Losses of shape `(...)`, in nats, in at least float32.

    Raises:
        TypeError: if an array has the wrong kind of dtype, or `ignore` is no integer or
            labels are probabilities.
        ValueError: if the shapes do not fit, there is one class only, or `eps` is negative.
    """
    return cross_entropy_fwd(probs, labels, eps, ignore, weights)[0]


def cross_entropy_fwd(probs, labels, eps, ignore, weights):
    (probs,) = float_arrays("cross_entropy", probs=probs)
    labels = as_labels("cross_entropy", "probs", probs, labels)
    weights = as_weights("cross_entropy", weights, probs.shape[:-1])
    eps, ignore = settings(labels, eps, ignore)
    if jnp.issubdtype(labels.dtype, jnp.integer):
        index, known = in_range(labels, probs.shape[-1])
        p = read(probs, jnp.where(known, index, 0))
        loss = jnp.where(known, -jnp.log(upcast(p) + eps), jnp.nan)[..., 0]
        held: tuple = Like.of(probs), labels, weights, p
    else:
        p, absent = guarded(probs, labels, eps)
        loss = -jnp.where(absent, 0, labels.astype(p.dtype) * jnp.log(p)).sum(-1)
        held = probs, labels, weights, None
    kept = None if weights is None else loss
    return weighted(loss, counted(labels, ignore, weights, loss), weights), (*held, kept)


def cross_entropy_bwd(eps, ignore, residuals, dy):
    probs, labels, weights, p, loss = residuals
    eps, ignore = settings(labels, eps, ignore)
    dweights, keep = None, counted(labels, ignore, weights, loss)
    if weights is not None:
        dweights = weighted(dy * loss, counted(labels, ignore), None)
    dy = weighted(dy, keep, weights)[..., None]
    here = True if keep is None else keep[..., None]
    if jnp.issubdtype(labels.dtype, jnp.integer):
        index, known = in_range(labels, probs.shape[-1])
        slope = jnp.where(known, -dy / (upcast(p) + eps), jnp.nan)
        dprobs = jnp.where((one_hot(index, probs) | ~known) & here, slope, 0)
        return cast_like((dprobs, None, dweights), residuals[:3])
    p, absent = guarded(probs, labels, eps)
    dprobs = jnp.where(absent | ~jnp.asarray(here), 0, -dy * labels.astype(p.dtype) / p)
    dlabels = jnp.where(absent | ~jnp.asarray(here), 0, -dy * jnp.log(p))
    return cast_like((dprobs, dlabels, dweights), residuals[:3])


cross_entropy.defvjp(cross_entropy_fwd, cross_entropy_bwd)


def settings(labels, eps, ignore):
    """The options as Python's numbers."""
    eps = number("cross_entropy", "eps", eps, low=0.0)
    return eps, ignored("cross_entropy", ignore, labels)


def guarded(probs, t, eps):
    """Probabilities with `eps` added, and where there is neither any nor a label."""
    p = upcast(probs) + eps
    absent = (p == 0) & (t == 0)
    return jnp.where(absent, 1, p), absent


def cross_entropy_reference(probs, labels, eps=1e-10, ignore=None, weights=None):
    """The definition, left to `jax.grad`; classes that are absent are left out."""
    keep = jnp.ones(probs.shape[:-1], bool)
    if jnp.issubdtype(labels.dtype, jnp.integer):
        for value in () if ignore is None else jnp.atleast_1d(jnp.array(ignore)):
            keep &= labels != value.astype(labels.dtype)
        labels = jnp.eye(probs.shape[-1])[labels]
    left_out = (probs + eps == 0) & (labels == 0)
    log_p = jnp.log(jnp.where(left_out, 1, probs) + jnp.where(left_out, 0, eps))
    loss = -jnp.where(left_out, 0, labels * log_p).sum(-1)
    loss = loss if weights is None else weights * loss
    return jnp.where(keep, loss, 0)


def cross_entropy_cases(rng):
    """Arguments on which every claim is tested."""
    p = rng.dirichlet(jnp.ones(4), 3)
    t = rng.dirichlet(jnp.ones(4), 3)
    ids = rng.integers(0, 4, 3)
    gap = p.copy()
    gap[:, 1] = 0
    weights = rng.uniform(0.5, 2, 3)
    return {
        "integer labels": (p, ids),
        "probabilities": (p, t),
        "not summing to 1": (p, 3 * t),
        "large eps": (p, ids, 0.1),
        "guarded": (gap, t, 1e-3),
        "absent class": (gap, t * (gap > 0), 0.0),
        "ignored": (p, np.array([ids[0], -1, ids[2]]), 0.1, (-1, -2)),
        "weights": (p, ids, 0.1, None, weights),
        "weights of probabilities": (p, t, 0.1, None, weights),
        "sequence": (rng.dirichlet(jnp.ones(4), (2, 3)), rng.integers(0, 4, (2, 3))),
        "one example": (p[0], ids[0]),
        "empty batch": (p[:0], ids[:0]),
    }
