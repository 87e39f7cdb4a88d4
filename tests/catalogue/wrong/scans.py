"""Loops other than recurrent networks."""

import jax.numpy as jnp
import numpy as np

from ..entry import normals, pullback_of
from .recurrences import entry, scan, stop


def linear(a, x):
    """h[t] = a[t] h[t-1] + x[t], from 0."""

    def step(h, now):
        h = now[0] * h + now[1]
        return h, h

    return scan(step, jnp.zeros_like(x[0]), (a, x))[1]


def linear_backward(a, x, dys, factor_shifted=True, state_shifted=True):
    later = jnp.concatenate([a[1:], jnp.zeros_like(a[:1])]) if factor_shifted else a
    dx = linear(later[::-1], dys[::-1])[::-1]
    h = linear(a, x)
    before = jnp.concatenate([jnp.zeros_like(h[:1]), h[:-1]])
    return dx * (before if state_shifted else h), dx


def average(xs, decay):
    """An exponential moving average."""

    def step(m, x):
        m = decay * m + (1 - decay) * x
        return m, m

    return scan(step, jnp.zeros_like(xs[0]), xs)[1]


def decay_of_this_step_only(r, dys):
    xs, decay = r
    m = average(xs, decay)
    before = jnp.concatenate([jnp.zeros_like(m[:1]), m[:-1]])
    return pullback_of(average)(r, dys)[0], (dys * (before - xs)).sum()


def euler(y, w):
    return scan(lambda y, _: (y + 0.1 * jnp.tanh(w @ y), None), y, None, length=5)[0]


def continuous_adjoint(r, dy):
    """Integrates the adjoint equation backwards by steps of its own."""
    y, w = r

    def step(carry, _):
        y, dy, dw = carry
        slope = 1 - jnp.tanh(w @ y) ** 2
        dw = dw + 0.1 * jnp.outer(dy * slope, y)
        return (y - 0.1 * jnp.tanh(w @ y), dy + 0.1 * w.T @ (dy * slope), dw), None

    _, dy, dw = scan(step, (euler(y, w), dy, jnp.zeros_like(w)), None, length=5)[0]
    return dy, dw


def equilibrium(x, w):
    return scan(lambda h, _: (jnp.tanh(w @ h + x), None), jnp.zeros_like(x), None, 60)[0]


def last_iteration_only(x, w):
    return jnp.tanh(w @ stop(equilibrium(x, w)) + x)


def equilibrium_args(rng):
    w = rng.uniform(-0.3, 0.3, (3, 3)).astype(np.float32)
    return rng.standard_normal(3, np.float32), w


LINEAR = normals((5, 3), (5, 3))


ENTRIES = [
    entry(
        "linear_recurrence_factor_not_shifted",
        "the reverse scan multiplies by this step's factor, not by the next one's",
        lambda r, dys: linear_backward(*r, dys, factor_shifted=False),
        LINEAR,
        linear,
    ),
    entry(
        "linear_recurrence_state_not_shifted",
        "the factors' cotangent takes the state after the step",
        lambda r, dys: linear_backward(*r, dys, state_shifted=False),
        LINEAR,
        linear,
    ),
    entry(
        "moving_average_decay_not_carried",
        "the decay's cotangent leaves out what earlier averages owe to it",
        decay_of_this_step_only,
        lambda rng: (rng.standard_normal((5, 2)), np.asarray(rng.uniform(0.5, 0.9))),
        average,
    ),
    entry(
        "euler_continuous_adjoint",
        "the adjoint equation is solved, not the steps' transpose: off by the step size",
        continuous_adjoint,
        normals((3,), (3, 3)),
        euler,
    ),
    entry(
        "equilibrium_last_iteration_only",
        "the fixed point is differentiated as if one iteration had made it",
        pullback_of(last_iteration_only),
        equilibrium_args,
        equilibrium,
    ),
]
