r"""A dense layer, softmax and cross entropy in one: the loss of a large vocabulary.

**Forward.** With $x$ of shape $(\ldots, d)$, $W$ of shape $(d, V)$ and $b$ of shape $(V)$,
the logits are

$$u = x W + b, \qquad s = u \quad\text{or}\quad s = c \tanh(u / c)$$

with a soft cap $c$ (Gemma 2, 2024, arXiv:2408.00118), and the loss is that of
`softmax_cross_entropy` for the integer label $y$,

$$\ell = \sum_i t_i\,(\operatorname{lse}(s) - s_i) + \zeta \operatorname{lse}(s)^2,
\qquad t_i = (1 - \alpha)\,[i = y] + \alpha / V.$$

It needs four numbers of a row of $s$: the largest logit $m$, $z = \sum_i e^{s_i - m}$,
$s_y$ and, for $\alpha > 0$, $\sum_i (s_i - m)$. All of them can be gathered a chunk of the
classes at a time, so that no more than a chunk of $s$ ever exists. When a chunk raises $m$
to $m'$, what was summed before it becomes

$$z\,e^{m - m'} \qquad\text{and}\qquad \textstyle\sum_i (s_i - m) + n\,(m - m')$$

for the $n$ classes seen so far (the online softmax of Milakov & Gimelshein, 2018,
arXiv:1805.02867).

**Backward.** As in `softmax_cross_entropy`, with $p$ the softmax of $s$ and
$\sum_i t_i = 1$,

$$\dot\ell = \sum_i \big( (1 + 2 \zeta \operatorname{lse})\,p_i - t_i \big)\,\dot s_i,
\qquad \dot s = \big( 1 - (s / c)^2 \big) \odot \dot u, \qquad
\dot u = \dot x W + x \dot W + \dot b.$$

Transposed, in the order from the loss to the arguments,

$$g = \bar\ell\,\big( (1 + 2 \zeta \operatorname{lse})\,p - t \big)
\odot \big( 1 - (s / c)^2 \big),$$

$$\bar x = g\,W^\top, \qquad \bar W = \sum_{\rm rows} x^\top g, \qquad
\bar b = \sum_{\rm rows} g.$$

A weight of the example multiplies $\ell$, so $\bar\ell$ in these, and has the cotangent
$\bar\ell$ times the loss without it. Given $m$ and $\log z$, the columns of $g$ do not
depend on each other. So the logits of a chunk are made again, and $g$ of them; the chunk
adds its share to $\bar x$ and has columns of $\bar W$ and $\bar b$ to itself.

**Residuals.** $x$, $W$, $b$, the labels (all inputs), and two numbers a row, $m$ and $\log
z$, and with weights a third, the loss. Autodiff keeps an array of the logits' size, $V / d$
times as large as $x$. The price is the product $x W$ a second time. That a loss can be had
without its logits is known from Liger Kernel (Hsu et al., 2024, arXiv:2410.10989), whose
chunks are of rows and whose cotangents are made in the forward pass, for a mean of losses
alone; and that a pullback can make the logits again in blocks, from Cut Cross-Entropy
(Wijmans et al., 2024, arXiv:2411.09009). Here chunks hold all rows and some classes,
nothing is left out of $g$ for being small, and every loss has a cotangent of its own.

**Hard points.** Logits are kept in at least float32, also where `dense` would round them.
As in `softmax_cross_entropy`, large ones keep their digits; a class whose bias is $-\infty$
adds nothing unless it is a label or labels are smoothed; and a label outside $[0, V)$ gives
NaN. At a label that is ignored, or a weight of 0, the loss and all it would add to
cotangents are 0, whatever is in the row of $x$.

**Speed.** A chunk is some 8 MB of logits, which stay in the cache between the passes over
them. Logits that are no more than that are one chunk, and there is no loop.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from funcnn.foundation._checks import (
    as_array,
    as_weights,
    classes,
    float_arrays,
    ignored,
    number,
)
from funcnn.foundation._checks import softcap as checked_softcap
from funcnn.foundation._cotangents import cast_like
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._mesh import by_device
from funcnn.foundation._shapes import affine
from funcnn.kernels._labels import counted, weighted
from funcnn.kernels._linear_cross_entropy import cotangents, losses
from funcnn.ops._dense import dense_reference
from funcnn.ops._softmax_cross_entropy import softmax_cross_entropy_reference


@partial(custom_vjp, nondiff_argnums=(4, 5, 6, 7))
def linear_softmax_cross_entropy(
    x: jax.Array,
    weight: jax.Array,
    labels: jax.Array,
    bias: jax.Array | None = None,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    softcap: float | None = None,
    ignore: int | tuple[int, ...] | None = None,
    weights: jax.Array | None = None,
) -> jax.Array:
    """Cross entropy between labels and the softmax of `x @ weight + bias`.

    The values and cotangents of `softmax_cross_entropy(dense(x, weight, bias), labels)`,
    without an array of all logits.

    Args:
        x: shape `(..., d)`.
        weight: shape `(d, V)`, a column for each of at least two classes.
        labels: integers of shape `(...)`.
        bias: shape `(V,)`, or None for no bias.
        label_smoothing: share in [0, 1] of each label spread evenly over all classes.
        z_loss: weight, at least 0, of the squared logarithm of the normaliser.
        softcap: if given, logits become `softcap * tanh(logits / softcap)`.
        ignore: an integer label, or a tuple of them, whose examples have loss 0 and add to
            no cotangent, whatever they hold.
        weights: shape `(...)`, by which losses are multiplied. Of weight 0, an example has
            loss 0 and adds to no cotangent, whatever it holds.

    Returns:
        Losses of shape `(...)`, in nats, in at least float32.

    Raises:
        TypeError: if an array has the wrong kind of dtype, or an option is no number.
        ValueError: if the shapes do not fit or a number is out of range.
    """
    return linear_softmax_cross_entropy_fwd(
        x, weight, labels, bias, label_smoothing, z_loss, softcap, ignore, weights
    )[0]


def linear_softmax_cross_entropy_fwd(x, weight, labels, bias, *options_and_weights):
    *options, weights = options_and_weights
    x, weight, labels, bias, weights = arrays(x, weight, labels, bias, weights)
    given = x, labels, weight, bias
    options = settings(labels, *options)
    local = by_device(partial(losses, options), given, 2 * (x.ndim > 1))
    loss, *rows = local(*given)
    held = x, weight, labels, bias, weights, *rows, None if weights is None else loss
    return weighted(loss, counted(labels, (), weights, loss), weights), held


def linear_softmax_cross_entropy_bwd(*arguments):
    *options, residuals, dy = arguments
    x, weight, labels, bias, weights, top, log_sum, loss = residuals
    options = settings(labels, *options)
    dweights = None if weights is None else dy * loss
    if weights is not None:
        keep = counted(labels, (), weights, loss)
        dy = weighted(dy, keep, weights)
        labels, options = without(labels, ~keep, options)
        top, log_sum = (jnp.where(keep[..., None], a, 0) for a in (top, log_sum))
    given = x, labels, top, log_sum, dy, weight, bias
    local, batch = partial(cotangents, options), 5 * (x.ndim > 1)
    dx, (dweight, dbias) = by_device(local, given, batch, totals=True)(*given)
    return cast_like((dx, dweight, None, dbias, dweights), residuals[:5])


linear_softmax_cross_entropy.defvjp(
    linear_softmax_cross_entropy_fwd, linear_softmax_cross_entropy_bwd
)


def without(labels, absent, options):
    """Labels, and options, with which some examples are ignored as well."""
    if jnp.iinfo(labels.dtype).bits < 32:
        labels = labels.astype(jnp.int32)
    nothing = int(jnp.iinfo(labels.dtype).max)
    *others, ignore = options
    return jnp.where(absent, nothing, labels), (*others, (*ignore, nothing))


def arrays(x, weight, labels, bias, weights):
    """All arguments as arrays that fit."""
    op = "linear_softmax_cross_entropy"
    x, weight, bias = float_arrays(op, x=x, weight=weight, bias=bias, optional=("bias",))
    affine(op, x, weight, bias, "d", "V")
    classes(op, "weight", weight)
    labels = as_array(op, "labels", labels)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f"{op} needs labels of an integer dtype; got {labels.dtype}.")
    if labels.shape != x.shape[:-1]:
        raise ValueError(
            f"{op} needs labels of shape {x.shape[:-1]} for x of shape {x.shape}; "
            f"got {labels.shape}."
        )
    return x, weight, labels, bias, as_weights(op, weights, labels.shape)


def settings(labels, label_smoothing, z_loss, softcap, ignore):
    """The options as Python's numbers."""
    op = "linear_softmax_cross_entropy"
    label_smoothing = number(op, "label_smoothing", label_smoothing, low=0.0, high=1.0)
    z_loss = number(op, "z_loss", z_loss, low=0.0)
    softcap = checked_softcap(op, softcap)
    return label_smoothing, z_loss, softcap, ignored(op, ignore, labels)


def linear_softmax_cross_entropy_reference(
    x, weight, labels, bias=None, label_smoothing=0.0, z_loss=0.0, softcap=None,
    ignore=None, weights=None,
):  # fmt: skip
    """The definition, left to `jax.grad`: a layer, then the loss."""
    s = dense_reference(x, weight, bias)
    if softcap is not None:
        s = softcap * jnp.tanh(s / softcap)
    return softmax_cross_entropy_reference(
        s, labels, label_smoothing, z_loss, ignore, weights
    )


def linear_softmax_cross_entropy_cases(rng):
    """Arguments on which every claim is tested."""
    normal = rng.standard_normal
    x, weight, bias = normal((4, 3)), normal((3, 5)), normal(5)
    ids = rng.integers(0, 5, 4)
    gap = np.where(np.arange(5) == (ids[0] + 1) % 5, -np.inf, bias)
    some = np.array([ids[0], -1, ids[2], -1])
    return {
        "bias": (x, weight, ids, bias),
        "no bias": (x, weight, ids),
        "label smoothing": (x, weight, ids, bias, 0.1),
        "z-loss": (x, weight, ids, bias, 0.0, 0.5),
        "soft cap": (x, 3 * weight, ids, bias, 0.0, 0.0, 2.0),
        "ignored": (x, weight, some, bias, 0.0, 0.0, None, (-1, int(ids[2]))),
        "weights": (x, weight, some, bias, 0.1, 0.2, None, -1, rng.uniform(0.5, 2, 4)),
        "all at once": (x, weight, some, bias, 0.3, 0.2, 4.0, -1),
        "sequence": (normal((2, 3, 4)), normal((4, 6)), rng.integers(0, 6, (2, 3))),
        "one example": (x[0], weight, ids[0], bias),
        "large": (1e2 * x, 1e2 * weight, ids, bias),
        "large, smoothed": (1e2 * x, 1e2 * weight, ids, bias, 0.3, 0.2),
        "absent class": (x, weight, np.full(4, ids[0]), gap, 0.0, 0.1),
        "one feature": (x[:, :1], weight[:1], ids, bias),
        "empty batch": (x[:0], weight, ids[:0], bias),
    }
