r"""Muon: momentum of matrices, made orthogonal.

For a matrix with gradient $g_t$, from $\mu_0 = 0$,

$$\mu_t = \beta\,\mu_{t-1} + (1 - \beta)\,g_t, \qquad
\bar\mu_t = \frac{\beta\,\mu_t}{1 - \beta^{t+1}} + \frac{(1 - \beta)\,g_t}{1 - \beta^t},
\qquad W_t = W_{t-1} - \eta_t \left( \sqrt{\max(1, n / m)}\;{\rm orth}(\bar\mu_t)
+ \lambda W_{t-1} \right)$$

for $W$ of shape $(m, n)$, inputs by outputs. ${\rm orth}(U S V^{\sf T})$ is close to
$U V^{\sf T}$: five steps of a Newton–Schulz iteration, from
$X_0 = \bar\mu / (\lVert \bar\mu \rVert_F + \epsilon)$,

$$X \leftarrow a X + (b A + c A^2) X, \qquad A = X X^{\sf T}, \qquad
(a, b, c) = (3.4445, -4.7750, 2.0315),$$

which takes singular values to between 0.7 and 1.2 and not to 1, but in few steps.

Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024. Conventions
are optax's. PyTorch's does not debias, and iterates in bfloat16.
"""

import math
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.tree_util import tree_flatten_with_path

from funcnn.foundation._checks import integer
from funcnn.optim.leafwise._means import debias
from funcnn.optim.leafwise._method import method
from funcnn.optim.leafwise._rule import Decay
from funcnn.optim.methods._adam import build
from funcnn.optim.precision._moments import Moments
from funcnn.optim.protocol._masks import Mask, spread
from funcnn.optim.protocol._optimizer import Optimizer
from funcnn.optim.protocol._rates import (
    LearningRate,
    check_learning_rate,
    hyperparameter,
    hyperparameters,
)
from funcnn.optim.protocol._trees import flatten, place
from funcnn.optim.wrappers._partition import parts

COEFFICIENTS = 3.4445, -4.7750, 2.0315


class MuonState(NamedTuple):
    """Updates made so far, and the mean of gradients, like the matrices of params."""

    step: chex.Array
    momentum: chex.ArrayTree


def muon(
    learning_rate: LearningRate,
    momentum: chex.Numeric = 0.95,
    weight_decay: chex.Numeric = 0.0,
    *,
    nesterov: bool = True,
    iterations: int = 5,
    eps: chex.Numeric = 1e-8,
    matrices: Mask = None,
    adam_learning_rate: LearningRate | None = None,
    adam_b1: chex.Numeric = 0.9,
    adam_b2: chex.Numeric = 0.999,
    adam_weight_decay: chex.Numeric = 0.0,
    moments: Moments = None,
) -> Optimizer:
    r"""Step by orthogonal matrices, and by AdamW where there are none.

    A stack's biases have two axes, and its matrices three: for `Transformer` and `Stack`,
    `per_layer(muon(1e-3), "blocks/*")` treats each layer as one that is not stacked.

    Args:
        learning_rate: $\eta$, a scalar or a schedule, as in `sgd`.
        momentum: $\beta$ in [0, 1).
        weight_decay: $\lambda$ of matrices, at least 0.
        nesterov: whether to take $\bar\mu$; without, it is $\mu / (1 - \beta^t)$.
        iterations: steps of Newton–Schulz.
        eps: $\epsilon$, at least 0, also AdamW's.
        matrices: a mask, as `adamw`'s, of the leaves to treat so; None for all that have
            two axes. The paper leaves embeddings and the last layer to AdamW. A leaf with
            more axes, as a convolution's kernel, is one matrix whose columns are its last
            axis.
        adam_learning_rate: of the other leaves; None for the same.
        adam_b1: their decay of the first moment.
        adam_b2: their decay of the second moment.
        adam_weight_decay: their weight decay.
        moments: what to store moments as, as in `adam`.

    Returns:
        An `Optimizer` whose `update` needs params. Its state is a `PartitionState` of
        `"matrices"` and `"others"`; dtypes are as in `adam`.

    Raises:
        TypeError: if a hyperparameter is no number, or a leaf is not floating-point.
        ValueError: if a hyperparameter lies outside its range, `update` gets no params,
            a leaf to be treated as a matrix has fewer than two axes, or gradients do not
            match the params.
    """
    hyperparameters("muon", momentum=momentum, eps=eps, adam_b1=adam_b1, adam_b2=adam_b2)
    hyperparameter("muon", "adam_weight_decay", adam_weight_decay, below=math.inf)
    if adam_learning_rate is None:
        adam_learning_rate = learning_rate
    else:
        check_learning_rate("muon", adam_learning_rate, "adam_learning_rate")
    iterations = integer("muon", "iterations", iterations, minimum=0)

    of_matrices = method(
        "muon",
        MuonState,
        rule_of(iterations),
        lambda t: factors(t, momentum, nesterov, eps),
        learning_rate,
        decay=Decay(weight_decay, None),
        moments=moments,
    )
    of_others = build(
        "muon",
        adam_learning_rate,
        adam_b1,
        adam_b2,
        eps,
        decay=Decay(adam_weight_decay, None),
        moments=moments,
    )
    labels = labels_of(two_axes if matrices is None else matrices)
    return parts("muon", {"matrices": of_matrices, "others": of_others}, labels)


def rule_of(iterations):
    """The rule of one matrix, or of a kernel as one."""

    def rule(g, mu, beta, a, ahead, now, eps):
        mu = beta * mu + a * g
        u = ahead * mu + now * g
        u = orthogonal(u.reshape(math.prod(u.shape[:-1]), u.shape[-1]), iterations, eps)
        m, n = u.shape
        return math.sqrt(max(1, n / max(m, 1))) * u.reshape(g.shape), mu

    return rule


def factors(t, momentum, nesterov, eps):
    """What the rule multiplies by in update t."""
    (c,), (next_c,) = debias(t, momentum), debias(t + 1, momentum)
    if nesterov:
        return momentum, 1 - momentum, momentum * next_c, (1 - momentum) * c, eps
    return momentum, 1 - momentum, c, 0.0, eps


def labels_of(mask):
    """A function of params that says which of them are matrices by a mask."""

    def labels(tree):
        chosen = spread("muon", "a mask", mask, tree)
        placed, _ = tree_flatten_with_path(tree)
        for (path, w), is_matrix in zip(placed, chosen, strict=True):
            if is_matrix and jnp.ndim(w) < 2:
                raise ValueError(
                    "muon needs matrices of two axes or more; "
                    f"got shape {jnp.shape(w)} at {place(path)}."
                )
        _, treedef = flatten(tree)
        return treedef.unflatten(["matrices" if m else "others" for m in chosen])

    return labels


def two_axes(params):
    """Where there are matrices."""
    return jax.tree.map(lambda w: jnp.ndim(w) == 2, params)


def orthogonal(x, iterations, eps):
    """A matrix with the singular vectors of `x`, and singular values near 1."""
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (jnp.sqrt(jnp.sum(x * x)) + eps)
    a, b, c = COEFFICIENTS
    for _ in range(iterations):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x
