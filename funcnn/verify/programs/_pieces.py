"""A function in; itself, differentiated and under each transformation out, as pieces.

A piece is a function of one set of inputs: leaves, held arrays, cotangents, scales and a
direction.
"""

import jax
import jax.numpy as jnp
import numpy as np

from funcnn.verify.functions._autodiff import autodiff
from funcnn.verify.functions._cotangents import POSITIVE, pullback


def plain(f, first, literal):
    """The function and its pullback `first`, and both differentiated."""

    def value(leaves, held, dys, scales, along):
        return f(leaves, held)

    def vjp(leaves, held, dys, scales, along):
        def at(point):
            s, dy = point
            return first(scaled(leaves, s), held, dy)

        if len(scales) == 1:
            return [ct[None] for ct in at((scales[0], [dy[0] for dy in dys]))]
        return jax.lax.map(at, (scales, dys))

    def reverse(leaves, held, dys, scales, along):
        one = [dy[0] for dy in dys]
        back = jax.vjp(lambda leaves, dy: first(leaves, held, dy), leaves, one)[1]
        to_leaves, to_dys = back(along)
        return [*to_leaves, *to_dys]

    def forward(leaves, held, dys, scales, along):
        one = [dy[0] for dy in dys]
        once = first if literal else autodiff(first)
        return jax.jvp(lambda leaves: once(leaves, held, one), (leaves,), (along,))[1]

    return {"value": value, "vjp": vjp, "rev2": reverse, "fwd2": forward}


def transformed(f, first, groups, dys_alone):
    """The forward rule, and the pullback under each transformation."""

    def outer(leaves, held, dys, scales, along):
        return jax.vjp(lambda *a: f(a, held), *leaves)[0]

    def remat(leaves, held, dys, scales, along):
        one = [dy[0] for dy in dys]
        return pullback(jax.checkpoint(lambda *a: f(a, held)), leaves, one)

    def vmap(leaves, held, dys, scales, along):
        pair = [jnp.stack(p) for p in zip(leaves, scaled(leaves, scales[-1]), strict=True)]
        both = [jnp.stack([h, h]) for h in held]
        two = [jnp.concatenate([dy[:1], dy[-1:]]) for dy in dys]
        return jax.vmap(first)(pair, both, two)

    def batch(leaves, held, dys, scales, along):
        pair = [jnp.stack([a, 0.75 * a]) for a in leaves]
        found = jax.vmap(f)(pair, [jnp.stack([h, h]) for h in held])
        return [y[0] for y in found]

    def alone(leaves, held, dys, scales, along):
        """Each argument batched by itself, then the cotangents by themselves."""
        one = [dy[0] for dy in dys]
        found = []
        for group in groups:
            pair = [
                jnp.stack([a, 0.75 * a]) if i in group else a for i, a in enumerate(leaves)
            ]
            axes = [0 if i in group else None for i in range(len(leaves))]
            found += jax.vmap(first, (axes, None, None))(pair, held, one)
        if dys_alone:
            two = [dy[:2] for dy in dys]
            found += jax.vmap(first, (None, None, 0))(leaves, held, two)
        return found

    def scan(leaves, held, dys, scales, along):
        pair = [jnp.stack(p) for p in zip(leaves, scaled(leaves, scales[-1]), strict=True)]
        two = [jnp.concatenate([dy[:1], dy[-1:]]) for dy in dys]

        def scanned(*rows):
            return jax.lax.scan(lambda _, row: (None, f(row, held)), None, rows)[1]

        return pullback(scanned, pair, two)

    found = {"forward": outer, "remat": remat, "vmap": vmap, "alone": alone, "scan": scan}
    return found | ({"batch": batch} if dys_alone else {})


def pushed(reference, leaves, held, dys, scales, along):
    """How the reference's cotangents change along a direction, then its values."""

    def once(leaves):
        ys, back = jax.vjp(lambda *a: reference(a, held), *leaves)
        return list(back([dy[0] for dy in dys])), list(ys)

    cts, ys = jax.jvp(once, (leaves,), (along,))[1]
    return [*cts, *ys]


def scaled(leaves, factors):
    """Each leaf times its factor."""
    return [a * factors[i].astype(a.dtype) for i, a in enumerate(leaves)]


def some(pieces, wanted):
    """The pieces that are wanted, None for all."""
    return {k: g for k, g in pieces.items() if not wanted or k in wanted}


def finite(dys, values):
    """Cotangents that ask for nothing, where differences judge, of infinite values.

    No difference can tell what infinities do.
    """
    if values is None or isinstance(values, Exception):
        return dys
    if not dys or len(dys[0]) <= POSITIVE:
        return dys
    dys = [np.array(dy) for dy in dys]
    for dy, y in zip(dys, values, strict=True):
        dy[POSITIVE] = np.where(np.isfinite(y), dy[POSITIVE], 0)
    return dys
