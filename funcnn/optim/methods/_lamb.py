r"""LAMB: Adam with layerwise trust ratios, for large batches.

With Adam's debiased moments and a leaf's weights $W$,

$$u_t = \frac{\hat\mu_t}{\sqrt{\hat\nu_t} + \epsilon} + \lambda W_{t-1}, \qquad
W_t = W_{t-1} - \eta_t\,\frac{\lVert W_{t-1} \rVert}{\lVert u_t \rVert}\,u_t,$$

where a ratio with a norm of 0 is 1.

You et al., "Large batch optimization for deep learning: training BERT in 76 minutes",
2020, arXiv:1904.00962, with the identity for $\phi$. optax defines it alike.
"""

import chex

from funcnn.optim.leafwise._means import debias, means
from funcnn.optim.leafwise._method import method
from funcnn.optim.leafwise._rule import Decay
from funcnn.optim.methods._adam import AdamState, adam_rule
from funcnn.optim.precision._moments import Moments
from funcnn.optim.protocol._masks import Mask
from funcnn.optim.protocol._optimizer import Optimizer
from funcnn.optim.protocol._rates import LearningRate, hyperparameters
from funcnn.optim.transformations._trust_ratio import WHY, trusted


def lamb(
    learning_rate: LearningRate,
    b1: chex.Numeric = 0.9,
    b2: chex.Numeric = 0.999,
    eps: chex.Numeric = 1e-6,
    weight_decay: chex.Numeric = 0.0,
    *,
    mask: Mask = None,
    moments: Moments = None,
) -> Optimizer:
    r"""Adam's steps, each leaf's in proportion to the norm of its weights.

    A stack of layers is one leaf, with one norm: see `per_layer`.

    Args:
        learning_rate: $\eta$, a scalar or a schedule, as in `sgd`.
        b1: decay of the first moment, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        eps: $\epsilon$, at least 0.
        weight_decay: $\lambda$, at least 0.
        mask: which leaves decay, as in `adamw`: the authors leave out biases and norms,
            as `decay_mask` does.
        moments: what to store the moments as, as in `adam`.

    Returns:
        An `Optimizer` whose `update` needs params; dtypes are as in `adam`.

    Raises:
        TypeError: if a hyperparameter is no number, or a leaf is not floating-point.
        ValueError: if a hyperparameter lies outside its range, `update` gets no params,
            or gradients do not match the params.
    """
    hyperparameters("lamb", b1=b1, b2=b2, eps=eps)

    def rule(g, mu, nu, *scalars, w, decay, keep):
        u, mu, nu = adam_rule(g, mu, nu, *scalars, keep=keep)
        return trusted(u + decay * w, w, 1, 0), mu, nu

    def scalars(t):
        return *means(b1, b2), *debias(t, b1, b2), eps

    return method(
        "lamb",
        AdamState,
        rule,
        scalars,
        learning_rate,
        why=WHY,
        decay=Decay(weight_decay, mask),
        moments=moments,
    )
