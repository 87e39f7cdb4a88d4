"""Equal elements, of which one or all can be the largest."""

import jax
import jax.numpy as jnp

from tests.catalogue.entry import Entry, rule
from tests.catalogue.right import array, grid


def maximum_bwd(residuals, dy):
    a, b = residuals
    return jnp.where(a >= b, dy, 0), jnp.where(a >= b, 0, dy)


maximum_rule = rule(jnp.maximum, maximum_bwd)


def row_max(x):
    return x.max(-1)


def row_max_bwd(residuals, dy):
    """All to the first maximum."""
    (x,) = residuals
    first = jax.nn.one_hot(x.argmax(-1), x.shape[-1], dtype=dy.dtype)
    return (first * dy[..., None],)


row_max_rule = rule(row_max, row_max_bwd)


def windows(x):
    return jnp.stack([x[..., i : x.shape[-1] - 2 + i] for i in range(3)], -1)


def pool(x):
    """Maxima of overlapping windows of 3."""
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 3), (1, 1), "VALID")


def pool_bwd(residuals, dy):
    """All to the last maximum of each window."""
    (x,) = residuals
    last = 2 - windows(x)[..., ::-1].argmax(-1)
    n, starts = x.shape[-1], jnp.arange(dy.shape[-1])
    hits = jax.nn.one_hot(starts + last, n, dtype=dy.dtype)
    return ((hits * dy[..., None]).sum(-2),)


pool_rule = rule(pool, pool_bwd)


def even_pool_bwd(residuals, dy):
    """Equal shares to all maxima of each window."""
    (x,) = residuals
    cells = windows(x)
    share = (cells == cells.max(-1, keepdims=True)).astype(dy.dtype)
    share = share / share.sum(-1, keepdims=True) * dy[..., None]
    n, starts = x.shape[-1], jnp.arange(dy.shape[-1])
    dx = jnp.zeros_like(x)
    for i in range(3):
        dx = dx.at[..., starts + i].add(share[..., i])
    return (dx[..., :n],)


even_pool_rule = rule(pool, even_pool_bwd)


def top_3(x):
    return tuple(jax.lax.top_k(x, 3))


def top_3_fwd(x):
    y = top_3(x)
    return y, (y[1], x)


def top_3_bwd(residuals, dys):
    ids, x = residuals
    return (jnp.zeros_like(x).at[ids].add(dys[0]),)


top_3_rule = rule(top_3, top_3_bwd, top_3_fwd)


def sort_fwd(x):
    """Ties in the opposite order of jnp.sort's."""
    order = x.size - 1 - jnp.argsort(x[::-1], stable=True)
    return jnp.take(x, order), order


sort_rule = rule(
    lambda x: jnp.sort(x),
    lambda order, dy: (jnp.zeros_like(dy).at[order].set(dy),),
    sort_fwd,
)


def largest_size(x):
    return abs(x).max()


def largest_size_bwd(residuals, dy):
    (x,) = residuals
    i = abs(x).argmax()
    return (jnp.zeros_like(x).at[i].set(jnp.sign(x[i]) * dy),)


largest_size_rule = rule(largest_size, largest_size_bwd)

ENTRIES = [
    Entry(
        "maximum_of_equals",
        "Autodiff shares between equal arguments, the rule prefers the first.",
        maximum_rule,
        lambda rng: (grid(rng, 0, 1, 10), grid(rng, 0, 1, 10)),
        jnp.maximum,
    ),
    Entry(
        "row_max_with_ties",
        "Autodiff shares among all maxima, the rule takes the first.",
        row_max_rule,
        lambda rng: (grid(rng, 0, 2, 4, 6),),
        row_max,
    ),
    Entry(
        "max_pool_last_of_ties",
        "Overlapping windows, ties to the last where JAX takes the first.",
        pool_rule,
        lambda rng: (grid(rng, 0, 1, 2, 9),),
        pool,
    ),
    Entry(
        "max_pool_shared_ties",
        "Overlapping windows that share the cotangent evenly among ties.",
        even_pool_rule,
        lambda rng: (grid(rng, 0, 1, 2, 9, dtype="bfloat16"),),
        pool,
    ),
    Entry(
        "top_3_with_ties",
        "Two outputs, one of integers; the third largest is often a tie.",
        top_3_rule,
        lambda rng: (grid(rng, 0, 3, 9),),
        top_3,
    ),
    Entry(
        "sort_with_ties",
        "Equal numbers keep another order than in the reference.",
        sort_rule,
        lambda rng: (grid(rng, 0, 3, 9),),
        lambda x: jnp.sort(x),
    ),
    Entry(
        "largest_size_of_ties",
        "The largest absolute value, reached by several elements of both signs.",
        largest_size_rule,
        lambda rng: (array([2, -2, *rng.integers(-2, 3, 6)]),),
        largest_size,
    ),
]
