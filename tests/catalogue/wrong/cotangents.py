"""Rules that are wrong in the cotangent: not linear in it, or for some cotangents right."""

import jax.numpy as jnp
import numpy as np

from ..entry import Entry, normals, rule


def changed(change):
    """The sine, whose cotangent is changed before it meets the right slope."""
    return rule(jnp.sin, lambda r, dy: (jnp.cos(r[0]) * change(dy),))


def relu(x):
    return jnp.maximum(x, 0)


def guided(r, dy):
    return (jnp.where((r[0] > 0) & (dy > 0), dy, 0),)


def identity(x):
    return x


def squared_error(x, target):
    return (x - target) ** 2


def summed_loss_assumed(r, dy):
    x, target = r
    return 2 * (x - target), -2 * dy * (x - target)


def circle(x):
    return jnp.sin(x), jnp.cos(x)


def outputs_swapped(r, dys):
    (x,) = r
    return (dys[1] * jnp.cos(x) - dys[0] * jnp.sin(x),)


def outputs_averaged(r, dys):
    (x,) = r
    mean = (dys[0] + dys[1]) / 2
    return (mean * (jnp.cos(x) - jnp.sin(x)),)


def outputs_interfere(r, dys):
    (x,) = r
    return (dys[0] * jnp.cos(x) - dys[1] * jnp.sin(x) + 0.1 * dys[0] * dys[1],)


def keep_largest_half(dy):
    return jnp.where(abs(dy) >= jnp.median(abs(dy)), dy, 0)


def shared_norm(dy):
    """Scaled to norm 1 if it is longer than a thousand."""
    norm = jnp.sqrt((dy**2).sum())
    return dy / jnp.where(norm > 1e3, norm, 1)


ARRAY = normals((3, 4))


def entry(name, note, f, args=ARRAY, reference=jnp.sin):
    return Entry(name, note, f, args, reference)


ENTRIES = [
    entry(
        "cotangent_clipped",
        "gradient clipping as a function's rule",
        rule(identity, lambda r, dy: (jnp.clip(dy, -1, 1),)),
        reference=None,
    ),
    entry(
        "cotangent_clipped_if_large",
        "only a cotangent longer than a thousand is scaled down",
        changed(shared_norm),
    ),
    entry(
        "cotangent_flushed_if_small",
        "elements below 1e-6 are taken for 0",
        changed(lambda dy: jnp.where(abs(dy) < 1e-6, 0, dy)),
    ),
    entry("cotangent_sign_only", "only signs are passed on", changed(jnp.sign)),
    entry(
        "cotangent_squared",
        "the cotangent is multiplied in twice: right for ones",
        changed(lambda dy: dy * dy),
    ),
    entry("cotangent_positive", "right for positive cotangents", changed(abs)),
    entry(
        "cotangent_averaged",
        "each element gets the mean: right for a constant cotangent",
        changed(lambda dy: jnp.full_like(dy, dy.mean())),
    ),
    entry(
        "cotangent_normalised",
        "divided by its length",
        changed(lambda dy: dy / jnp.sqrt((dy**2).sum())),
    ),
    entry(
        "cotangent_offset",
        "a constant is added to every cotangent",
        changed(lambda dy: dy + 1e-3),
    ),
    entry(
        "cotangent_reversed",
        "gradient reversal, as adversarial training wants it",
        rule(identity, lambda r, dy: (-0.5 * dy,)),
        reference=None,
    ),
    entry(
        "cotangent_sparsified",
        "the smaller half of the elements is dropped",
        changed(keep_largest_half),
    ),
    entry(
        "cotangent_zero_is_nan",
        "dy * dy / dy is nan where the cotangent is 0, and right elsewhere",
        changed(lambda dy: dy * dy / dy),
    ),
    entry(
        "relu_guided",
        "guided backpropagation: negative cotangents are stopped",
        rule(relu, guided),
        reference=relu,
    ),
    entry(
        "cotangent_of_ones_assumed",
        "one argument's cotangent is that of the sum",
        rule(squared_error, summed_loss_assumed),
        normals((3, 4), (3, 4)),
        squared_error,
    ),
    entry(
        "outputs_cotangents_swapped",
        "two outputs have each other's cotangent",
        rule(circle, outputs_swapped),
        reference=circle,
    ),
    entry(
        "outputs_cotangents_averaged",
        "right if both outputs have the same cotangent",
        rule(circle, outputs_averaged),
        reference=None,
    ),
    entry(
        "outputs_cotangents_interfere",
        "right if either output's cotangent is 0",
        rule(circle, outputs_interfere),
        lambda rng: (rng.standard_normal(6).astype(np.float32),),
        circle,
    ),
]
