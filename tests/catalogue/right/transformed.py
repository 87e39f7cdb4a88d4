"""Rules within rules, loops, branches and transformations, and other kinds of rule."""

import jax
import jax.numpy as jnp

from tests.catalogue.entry import Entry, rule
from tests.catalogue.right import array, labels, normal, uniform


def sine_fwd(x):
    return sine(x), x


sine = jax.custom_vjp(lambda x: jnp.sin(x))
sine.defvjp(sine_fwd, lambda x, dy: (jnp.cos(x) * dy,))


tanh = rule(jnp.tanh, lambda r, dy: ((1 - jnp.tanh(r[0]) ** 2) * dy,))


def damped(x):
    return tanh(x) * jnp.exp(-(x**2))


def damped_bwd(residuals, dy):
    (x,) = residuals
    return (dy * jnp.exp(-(x**2)) * (1 - tanh(x) ** 2 - 2 * x * tanh(x)),)


nested = rule(
    lambda x: damped(sine(x)),
    lambda r, dy: (jnp.cos(r[0]) * damped_bwd((sine(r[0]),), dy)[0],),
)


def cell(weight, h, x):
    return tanh(h @ weight + x)


def rnn(weight, xs):
    def step(h, x):
        h = cell(weight, h, x)
        return h, h

    return jax.lax.scan(step, jnp.zeros_like(xs[0]), xs)


def rnn_reference(weight, xs):
    hs = [jnp.zeros_like(xs[0])]
    for x in xs:
        hs.append(jnp.tanh(hs[-1] @ weight + x))
    return hs[-1], jnp.stack(hs[1:])


row_norm = rule(
    lambda x: jnp.sqrt(jnp.vdot(x, x)),
    lambda r, dy: (dy * r[0] / jnp.sqrt(jnp.vdot(r[0], r[0])),),
)


def branches(x, which):
    return jax.lax.switch(which, [tanh, sine, lambda x: x**2], x)


def branches_reference(x, which):
    return jnp.select([which == 0, which == 1], [jnp.tanh(x), jnp.sin(x)], x**2)


def powers(x):
    return jax.lax.fori_loop(0, 3, lambda i, c: sine(c) * (i + 1), x)


def remade(f):
    """A rule that keeps nothing but the arguments and runs `f` again."""
    return rule(f, lambda r, dy: jax.vjp(f, *r)[1](dy))


@remade
def two_layers(x, first, second):
    return jax.nn.softplus(x @ first) @ second


def two_layers_reference(x, first, second):
    return jnp.log1p(jnp.exp(x @ first)) @ second


@jax.custom_gradient
def log1pexp(x):
    e = jnp.exp(x)
    return jnp.log1p(e), lambda dy: dy * (1 - 1 / (1 + e))


@jax.custom_jvp
def cube_root(x):
    return jnp.cbrt(x)


@cube_root.defjvp
def cube_root_jvp(primals, tangents):
    y = cube_root(*primals)
    return y, tangents[0] / (3 * y**2)


def optional_fwd(a, b):
    """Skips what is not asked for."""
    kept = b.value if a.perturbed else None, a.value if b.perturbed else None
    return a.value @ b.value, kept


def optional_bwd(residuals, dy):
    b, a = residuals
    if isinstance(dy, jax.custom_derivatives.SymbolicZero):
        return None, None
    return None if b is None else dy @ b.T, None if a is None else a.T @ dy


optional = jax.custom_vjp(lambda a, b: a @ b)
optional.defvjp(optional_fwd, optional_bwd, symbolic_zeros=True)

ENTRIES = [
    Entry(
        "rule_of_rules",
        "A rule whose function and whose backward pass call other rules.",
        nested,
        lambda rng: (normal(rng, 6),),
        lambda x: jnp.tanh(jnp.sin(x)) * jnp.exp(-(jnp.sin(x) ** 2)),
    ),
    Entry(
        "forward_rule_calls_its_function",
        "JAX refuses forward mode over it; reverse over reverse works.",
        sine,
        lambda rng: (normal(rng, 6),),
        jnp.sin,
    ),
    Entry(
        "rule_under_jit",
        "Compiled inside.",
        jax.jit(lambda x: jax.jit(tanh)(x) * sine(x)),
        lambda rng: (normal(rng, 6),),
        lambda x: jnp.tanh(x) * jnp.sin(x),
    ),
    Entry(
        "rule_under_scan",
        "A recurrent network, whose reference is a Python loop.",
        rnn,
        lambda rng: (0.5 * normal(rng, 3, 3), normal(rng, 5, 3)),
        rnn_reference,
    ),
    Entry(
        "rule_under_vmap",
        "Mapped over the middle axis.",
        jax.vmap(jax.vmap(row_norm), 1),
        lambda rng: (normal(rng, 2, 3, 4),),
        lambda x: jnp.sqrt((x**2).sum(-1)).T,
    ),
    Entry(
        "rule_under_checkpoint",
        "The forward pass runs again in the backward pass.",
        jax.checkpoint(lambda x: sine(tanh(x)) ** 2),
        lambda rng: (normal(rng, 6),),
        lambda x: jnp.sin(jnp.tanh(x)) ** 2,
    ),
    Entry(
        "rule_in_a_branch",
        "An integer argument chooses one of three.",
        branches,
        lambda rng: (normal(rng, 6), array(1, "int32")),
        branches_reference,
    ),
    Entry(
        "rules_chosen_by_row",
        "The same under vmap, where all branches run.",
        jax.vmap(branches),
        lambda rng: (normal(rng, 6, 2), labels(rng, 3, 6)),
        jax.vmap(branches_reference),
    ),
    Entry(
        "rule_in_a_loop",
        "Three turns of fori_loop.",
        powers,
        lambda rng: (normal(rng, 6),),
        lambda x: 3 * jnp.sin(2 * jnp.sin(jnp.sin(x))),
    ),
    Entry(
        "runs_itself_again",
        "The rule calls jax.vjp of its own function.",
        two_layers,
        lambda rng: (normal(rng, 5, 3), normal(rng, 3, 4), normal(rng, 4, 2)),
        two_layers_reference,
    ),
    Entry(
        "custom_gradient",
        "JAX's decorator for a function that returns its rule.",
        log1pexp,
        lambda rng: (normal(rng, 6),),
        lambda x: jnp.log(1 + jnp.exp(x)),
    ),
    Entry(
        "custom_jvp",
        "A forward rule that JAX transposes.",
        cube_root,
        lambda rng: (uniform(rng, 0.5, 3, 6),),
        lambda x: x ** (1 / 3),
    ),
    Entry(
        "symbolic_zeros",
        "A rule that is told which arguments are differentiated.",
        optional,
        lambda rng: (normal(rng, 3, 4), normal(rng, 4, 2)),
        jnp.matmul,
    ),
]
