"""What arguments and outputs can be: trees, numbers, integers, nothing at all."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from tests.catalogue.entry import Entry, rule
from tests.catalogue.right import normal, uniform


class Affine(NamedTuple):
    """Parameters of a layer."""

    weight: jax.Array
    bias: jax.Array | None


def affine(layer, x):
    y = x @ layer.weight
    return y if layer.bias is None else y + layer.bias


def affine_bwd(residuals, dy):
    layer, x = residuals
    dbias = None if layer.bias is None else dy.sum(0)
    return Affine(x.T @ dy, dbias), dy @ layer.weight.T


affine_rule = rule(affine, affine_bwd)


def stack(layers, x):
    """A list of layers and a dict of all their outputs."""
    found = {}
    for i, layer in enumerate(layers):
        x = jnp.sin(affine(layer, x))
        found[f"layer {i}"] = x
    return found


def stack_bwd(residuals, dys):
    layers, x = residuals
    outs = stack(layers, x)
    ins = [x, *outs.values()]
    dlayers, dy = [], jnp.zeros_like(dys[f"layer {len(layers) - 1}"])
    for i in reversed(range(len(layers))):
        slope = jnp.cos(affine(layers[i], ins[i]))
        dlayer, dy = affine_bwd((layers[i], ins[i]), (dy + dys[f"layer {i}"]) * slope)
        dlayers.insert(0, dlayer)
    return dlayers, dy


stack_rule = rule(stack, stack_bwd)


def stack_args(rng):
    shapes = (3, 4), (4, 4), (4, 2)
    biases = [normal(rng, 4), None, normal(rng, 2)]
    layers = [Affine(normal(rng, *s), b) for s, b in zip(shapes, biases, strict=True)]
    return layers, normal(rng, 5, 3)


def empty_corners(tree):
    return {"y": jnp.exp(tree["x"]), "nothing": (), "none": None}


empty_corners_rule = rule(
    empty_corners,
    lambda r, dy: ({**r[0], "x": dy["y"] * jnp.exp(r[0]["x"])},),
)


def max_and_where(x):
    return x.max(-1), x.argmax(-1), x > 0


def max_and_where_bwd(where, dys):
    hot = jnp.arange(5) == where[:, None]
    return (jnp.where(hot, dys[0][:, None], 0),)


max_and_where_rule = rule(
    max_and_where, max_and_where_bwd, lambda x: (max_and_where(x), x.argmax(-1))
)
sine_rule = rule(lambda x: jnp.sin(x), lambda r, dy: (jnp.cos(r[0]) * dy,))
scalar_rule = rule(
    lambda a, b: a**b,
    lambda r, dy: (dy * r[1] * r[0] ** (r[1] - 1), dy * jnp.log(r[0]) * r[0] ** r[1]),
)
unused_rule = rule(
    lambda x, unused: jnp.sin(x),
    lambda r, dy: (jnp.cos(r[0]) * dy, jnp.zeros_like(r[1])),
)
ignored_rule = rule(lambda x, ignored: jnp.sin(x), lambda r, dy: (jnp.cos(r[0]) * dy, None))
constant_rule = rule(
    lambda x: {"square": x**2, "ones": jnp.ones(3, x.dtype), "size": x.size},
    lambda r, dy: (2 * r[0] * dy["square"],),
)
matmul_rule = rule(jnp.matmul, lambda r, dy: (dy @ r[1].T, r[0].T @ dy))
batch_loss_rule = rule(
    lambda x, w: ((x @ w) ** 2).sum(),
    lambda r, dy: (2 * dy * jnp.outer(r[0] @ r[1], r[1]), 2 * dy * r[0].T @ (r[0] @ r[1])),
)

ENTRIES = [
    Entry(
        "layers_in_a_list",
        "Named tuples in a list, one bias None, and a dict of outputs.",
        stack_rule,
        stack_args,
        stack,
    ),
    Entry(
        "named_tuple_without_bias",
        "The cotangent of None is None.",
        affine_rule,
        lambda rng: (Affine(normal(rng, 3, 2), None), normal(rng, 4, 3)),
        affine,
    ),
    Entry(
        "empty_tuples_and_none",
        "Containers with nothing in them, in and out.",
        empty_corners_rule,
        lambda rng: ({"x": normal(rng, 3), "list": [], "none": None},),
        empty_corners,
    ),
    Entry(
        "integer_and_boolean_outputs",
        "Only the first of three outputs has a cotangent of its own dtype.",
        max_and_where_rule,
        lambda rng: (normal(rng, 4, 5),),
        max_and_where,
    ),
    Entry(
        "empty_array",
        "No elements, but shapes and dtypes.",
        sine_rule,
        lambda rng: (normal(rng, 0, 4),),
        jnp.sin,
    ),
    Entry(
        "empty_batch",
        "The weight's cotangent is a sum of nothing.",
        matmul_rule,
        lambda rng: (normal(rng, 0, 4), normal(rng, 4, 3)),
        jnp.matmul,
    ),
    Entry(
        "scalars",
        "Arrays of no axes.",
        scalar_rule,
        lambda rng: (uniform(rng, 1, 2), normal(rng)),
        jnp.power,
    ),
    Entry(
        "unused_argument_of_zeros",
        "An argument that the output does not depend on.",
        unused_rule,
        lambda rng: (normal(rng, 3), normal(rng, 2, 2)),
        lambda x, unused: jnp.sin(x),
    ),
    Entry(
        "unused_argument_of_none",
        "None stands for a cotangent of zeros.",
        ignored_rule,
        lambda rng: (normal(rng, 3), normal(rng, 2, 2, dtype="bfloat16")),
        lambda x, unused: jnp.sin(x),
    ),
    Entry(
        "constant_outputs",
        "One output is an array and one a number that depend on no argument.",
        constant_rule,
        lambda rng: (normal(rng, 4),),
        lambda x: {"square": x * x, "ones": jnp.ones(3, x.dtype), "size": x.size},
    ),
    Entry(
        "float64_arguments",
        "NumPy's own dtype, which JAX makes float32 by default.",
        batch_loss_rule,
        lambda rng: (normal(rng, 4, 3, dtype="float64"), normal(rng, 3, dtype="float64")),
        lambda x, w: jnp.vdot(x @ w, x @ w),
    ),
]
