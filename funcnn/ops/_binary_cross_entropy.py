r"""Logistic function and binary cross entropy in one, from logits.

**Forward.** For a logit $x$ and the probability $t$ of yes, elementwise, with
$\operatorname{sp}(x) = \log(1 + e^x)$,

$$\ell = w\,L, \qquad L = p\,t'\,\operatorname{sp}(-x) + (1 - t')\,\operatorname{sp}(x),
\qquad t' = (1 - \alpha)\,t + \alpha / 2,$$

where $w$ is the element's weight, $p$ the weight of yes (`pos_weight`, as in PyTorch), both
1 unless they are given, and $\alpha$ label smoothing.

**Backward.** The slope of $\operatorname{sp}$ is $\sigma$, the logistic function, so

$$\dot L = \big( (1 - t')\,\sigma(x) - p\,t'\,\sigma(-x) \big)\,\dot x
+ \big( p \operatorname{sp}(-x) - \operatorname{sp}(x) \big)\,\dot t'
+ t' \operatorname{sp}(-x)\,\dot p,$$

a diagonal map in $x$, $t$ and $w$: the pullback multiplies $\bar\ell\,w$, and for $w$
$\bar\ell$ itself, by the same coefficients, and adds up what $p$ and $w$ were spread over.

**Residuals.** $x$, $t$, $p$ and $w$, all inputs.

**Hard points.** Each tail has a term of its own: nothing is subtracted from 1, so a loss of
$e^{-100}$ and its gradient keep their digits. $\operatorname{sp}(x)$ is $\max(x, 0) +
\log(1 + e^{-|x|})$, finite for all finite $x$. A term whose factor is 0 is 0, also at $x =
\pm\infty$. Integer labels other than 0 and 1 give NaN. Where $w$ is 0, the loss and the
cotangents of $x$ and $t$ are exactly 0, whatever $x$ is.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from funcnn.foundation._checks import as_array, float_arrays, number
from funcnn.foundation._cotangents import cast_like, unbroadcast
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._dtypes import upcast
from funcnn.kernels._labels import counted, weighted
from funcnn.kernels._logistic import logistic, softplus

OP = "binary_cross_entropy"


@partial(custom_vjp, nondiff_argnums=(3,))
def binary_cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    pos_weight: jax.Array | None = None,
    label_smoothing: float = 0.0,
    weights: jax.Array | None = None,
) -> jax.Array:
    """Cross entropy between yes or no and the logistic function of logits, elementwise.

    Args:
        logits: any shape.
        labels: the same shape; booleans, integers 0 and 1, or probabilities of yes, which
            are differentiated.
        pos_weight: by which the loss of yes is multiplied; a number, or an array that
            broadcasts to the shape of `logits`, such as one for each label of several.
        label_smoothing: share in [0, 1] of each label spread evenly over yes and no.
        weights: by which losses are multiplied; broadcasts likewise. Of weight 0, loss and
            cotangents are 0 whatever the logits are.

    Returns:
        Losses of the shape of `logits`, in nats, in at least float32.

    Raises:
        TypeError: if an array has the wrong kind of dtype.
        ValueError: if the shapes do not fit or a number is out of range.
    """
    return binary_cross_entropy_fwd(logits, labels, pos_weight, label_smoothing, weights)[0]


def binary_cross_entropy_fwd(logits, labels, pos_weight, label_smoothing, weights):
    label_smoothing = number(OP, "label_smoothing", label_smoothing, low=0.0, high=1.0)
    held = arrays(logits, labels, pos_weight, weights)
    (x, w), (yes, no) = wide(held), terms(held, label_smoothing)
    loss = times(yes, softplus(-x)) + times(no, softplus(x))
    return weighted(loss, counted(labels, (), w, loss), w), held


def binary_cross_entropy_bwd(label_smoothing, held, dy):
    _, labels, pos_weight, weights = held
    (x, w), (yes, no) = wide(held), terms(held, label_smoothing)
    low, high = softplus(-x), softplus(x)
    loss = times(yes, low) + times(no, high)
    keep = counted(labels, (), w, loss)
    scale = weighted(dy, keep, w)
    dx = scale * (no * logistic(x) - yes * logistic(-x))
    dlabels = dpos = dweights = None
    if jnp.issubdtype(labels.dtype, jnp.floating):
        p = 1 if pos_weight is None else upcast(pos_weight)
        dlabels = scale * (1 - label_smoothing) * (p * low - high)
    if pos_weight is not None:
        t = terms((*held[:2], None, None), label_smoothing)[0]
        dpos = unbroadcast(weighted(scale * times(t, low), keep, None), pos_weight.shape)
    if weights is not None:
        dweights = unbroadcast(dy * loss, weights.shape)
    dx, dlabels = (a if a is None else weighted(a, keep, None) for a in (dx, dlabels))
    return cast_like((dx, dlabels, dpos, dweights), held)


binary_cross_entropy.defvjp(binary_cross_entropy_fwd, binary_cross_entropy_bwd)


def arrays(logits, labels, pos_weight, weights):
    """All arguments as arrays that fit."""
    (logits,) = float_arrays(OP, logits=logits)
    labels = as_array(OP, "labels", labels)
    kinds = (jnp.bool_, jnp.integer, jnp.floating)
    if not any(jnp.issubdtype(labels.dtype, kind) for kind in kinds):
        raise TypeError(f"{OP} needs labels that are numbers; got {labels.dtype}.")
    if labels.shape != logits.shape:
        raise ValueError(
            f"{OP} needs labels of the shape of logits, {logits.shape}; got {labels.shape}."
        )
    spread = (spreads(OP, "pos_weight", pos_weight), spreads(OP, "weights", weights))
    for name, a in zip(("pos_weight", "weights"), spread, strict=True):
        if a is not None and not fits(a.shape, logits.shape):
            raise ValueError(
                f"{OP} needs {name} that broadcast to the shape of logits, {logits.shape}; "
                f"got shape {a.shape}."
            )
    return logits, labels, *spread


def spreads(op, name, a):
    """An array of floating-point numbers, or None; a Python number promotes nothing."""
    if a is None:
        return None
    a = as_array(op, name, a)
    if a.dtype == bool or jnp.issubdtype(a.dtype, jnp.integer):
        return a.astype(jnp.float32)
    return float_arrays(op, **{name: a})[0]


def fits(shape, wanted):
    """Whether an array of `shape` broadcasts to `wanted`, without making that larger."""
    pairs = zip(reversed(shape), reversed(wanted), strict=False)
    return len(shape) <= len(wanted) and all(n in (1, m) for n, m in pairs)


def wide(held):
    """Logits in at least float32, and weights in the same dtype and shape."""
    x, weights = upcast(held[0]), held[3]
    if weights is None:
        return x, None
    return x, jnp.broadcast_to(weights.astype(x.dtype), x.shape)


def terms(held, label_smoothing):
    """The factors of yes and of no in the loss."""
    logits, labels, pos_weight, _ = held
    dtype = upcast(logits).dtype
    t = labels.astype(dtype)
    if jnp.issubdtype(labels.dtype, jnp.integer):
        t = jnp.where((labels == 0) | (labels == 1), t, jnp.nan)
    # of the two, neither loses digits to a difference from 1 if the label is yes or no
    yes = (1 - label_smoothing) * t + label_smoothing / 2
    no = (1 - label_smoothing) * (1 - t) + label_smoothing / 2
    return (yes if pos_weight is None else yes * pos_weight.astype(dtype)), no


def times(factor, a):
    """The product, 0 where the factor is, also of infinity."""
    return jnp.where(factor == 0, 0, factor * a)


def binary_cross_entropy_reference(
    logits, labels, pos_weight=None, label_smoothing=0.0, weights=None
):
    """The definition, left to `jax.grad`."""
    t = (1 - label_smoothing) * labels.astype(logits.dtype) + label_smoothing / 2
    low = jnp.log1p(jnp.exp(-jnp.abs(logits)))
    loss = t * (jnp.maximum(-logits, 0) + low) * (1 if pos_weight is None else pos_weight)
    loss = loss + (1 - t) * (jnp.maximum(logits, 0) + low)
    return loss if weights is None else weights * loss


def binary_cross_entropy_cases(rng):
    """Arguments on which every claim is tested."""
    x, t = 2 * rng.standard_normal((3, 4)), rng.uniform(0, 1, (3, 4))
    ids, w = rng.integers(0, 2, (3, 4)), rng.uniform(0.5, 2, (3, 4))
    return {
        "integers": (x, ids),
        "booleans": (x, ids > 0),
        "probabilities": (x, t),
        "label smoothing": (x, ids, None, 0.2),
        "smoothed probabilities": (x, t, None, 0.2),
        "weight of yes": (x, t, rng.uniform(0.5, 3, 4)),
        "weights": (x, t, None, 0.0, w),
        "all weights": (x, t, rng.uniform(0.5, 3, (3, 1)), 0.1, w[:, :1]),
        "tails": (tails(), np.array([1, 0, 1, 0, 1, 0]) > 0),
        "one number": (x[0, 0], ids[0, 0]),
        "empty batch": (x[:0], ids[:0]),
    }


def tails():
    """Logits whose losses are as small, and as large, as they get."""
    return np.array([30.0, -30.0, -30.0, 30.0, 1e4, -1e4])
