"""Loops that run until they converge, which autodiff cannot reverse."""

import jax
import jax.numpy as jnp

from tests.catalogue.entry import Entry
from tests.catalogue.right import normal, uniform


def newton_sqrt(a):
    """Heron's method, to the last digit."""

    def halve(state):
        x, _ = state
        return (x + a / x) / 2, x

    def going(state):
        x, before = state
        return jnp.any(abs(x - before) > 4 * jnp.finfo(x.dtype).eps * x)

    return jax.lax.while_loop(going, halve, ((1 + a) / 2, a + 1))[0]


def heron_fwd(a):
    y = heron(a)
    return y, y


heron = jax.custom_vjp(newton_sqrt)
heron.defvjp(heron_fwd, lambda y, dy: (dy / (2 * y),))


def iterate(f, x):
    """Apply a contraction until it moves no more."""

    def going(state):
        x, before, i = state
        room = 2 * jnp.finfo(x.dtype).eps * abs(x).max()
        return (abs(x - before).max() > room) & (i < 500)

    def step(state):
        x, _, i = state
        return f(x), x, i + 1

    return jax.lax.while_loop(going, step, (f(x), x, 0))[0]


def equilibrium_plain(weight, bias):
    return iterate(lambda x: jnp.tanh(weight @ x + bias), jnp.zeros_like(bias))


def equilibrium_fwd(weight, bias):
    x = equilibrium(weight, bias)
    return x, (weight, x)


def equilibrium_bwd(residuals, dy):
    """The implicit function theorem, with a linear solve."""
    weight, x = residuals
    slope = 1 - x**2
    d = slope * jnp.linalg.solve(jnp.eye(x.size, dtype=x.dtype) - weight.T * slope, dy)
    return jnp.outer(d, x), d


equilibrium = jax.custom_vjp(equilibrium_plain)
equilibrium.defvjp(equilibrium_fwd, equilibrium_bwd)


def equilibrium_loop_bwd(residuals, dy):
    """The same by iteration, which reverse mode cannot go through again."""
    weight, x = residuals
    slope = 1 - x**2
    d = iterate(lambda d: slope * (dy + weight.T @ d), jnp.zeros_like(dy))
    return jnp.outer(d, x), d


equilibrium_once = jax.custom_vjp(equilibrium_plain)
equilibrium_once.defvjp(equilibrium_fwd, equilibrium_loop_bwd)


def unrolled(weight, bias):
    def step(_, x):
        return jnp.tanh(weight @ x + bias)

    return jax.lax.fori_loop(0, 80, step, jnp.zeros_like(bias))


def contraction(rng):
    return 0.12 * normal(rng, 4, 4), normal(rng, 4)


ENTRIES = [
    Entry(
        "newton_iteration",
        "A while_loop, which reverse mode cannot go through, and its closed rule.",
        heron,
        lambda rng: (uniform(rng, 0.5, 9, 5),),
        jnp.sqrt,
    ),
    Entry(
        "newton_iteration_own_definition",
        "The same without a reference: there is no autodiff to compare with.",
        heron,
        lambda rng: (uniform(rng, 0.5, 9, 5),),
    ),
    Entry(
        "equilibrium",
        "A fixed point differentiated implicitly.",
        equilibrium,
        contraction,
        unrolled,
    ),
    Entry(
        "equilibrium_own_definition",
        "The same without a reference.",
        equilibrium,
        contraction,
    ),
    Entry(
        "equilibrium_by_two_loops",
        "The rule is a while_loop too, so that second derivatives raise.",
        equilibrium_once,
        contraction,
        unrolled,
    ),
]
