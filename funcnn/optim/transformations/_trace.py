r"""Momentum as a transformation: $b \leftarrow g + \beta b$, Polyak's, as in `sgd`."""

from typing import NamedTuple

import chex

from funcnn.optim.leafwise._method import method
from funcnn.optim.precision._moments import Moments
from funcnn.optim.protocol._optimizer import Optimizer
from funcnn.optim.protocol._rates import hyperparameters


class SgdState(NamedTuple):
    """Updates made so far, and the momentum b like params (None without one)."""

    step: chex.Array
    momentum: chex.ArrayTree | None


def trace(
    decay: chex.Numeric, nesterov: bool = False, *, moments: Moments = None
) -> Optimizer:
    r"""Replace gradients by their running sum $b \leftarrow g + \beta b$.

    Args:
        decay: $\beta$ in [0, 1).
        nesterov: whether to return $g + \beta b$, one step ahead.
        moments: what to store the sum as, as in `adam`.

    Returns:
        An `Optimizer` that keeps the gradients' dtypes, for use in a chain.

    Raises:
        TypeError: if `decay` is no number, or a leaf is not floating-point.
        ValueError: if it lies outside its range, or gradients do not match the state.
    """
    hyperparameters("trace", decay=decay)

    return method(
        "trace", SgdState, running_sum(nesterov), lambda t: (decay,), moments=moments
    )


def running_sum(nesterov):
    """The rule of a gradient's running sum, or of one that looks a step ahead."""

    def rule(g, b, beta, *, keep):
        (b,) = keep(beta * b + g)
        return (g + beta * b if nesterov else b), b

    return rule
