"""Products of matrices, with or without a bias."""

import jax
import jax.numpy as jnp

from ..entry import Entry, normals, pullback_of, rule


def dense(x, w, b):
    return x @ w + b


def weight_transposed(r, dy):
    x, w, _ = r
    return dy @ w, x.T @ dy, dy.sum(0)


def bias_mean(r, dy):
    x, w, _ = r
    return dy @ w.T, x.T @ dy, dy.mean(0)


def divided_by_batch(r, dy):
    x, w, _ = r
    return dy @ w.T, x.T @ dy / len(x), dy.sum(0) / len(x)


def weight_decay_added(r, dy):
    x, w, _ = r
    return dy @ w.T, x.T @ dy + 1e-2 * w, dy.sum(0)


def bias_only_summed_over_batch(r, dy):
    x, w, _ = r
    dw = jnp.einsum("bti,btj->ij", x, dy)
    return dy @ w.T, dw, dy.sum(0).mean(0)


def weight_of_last_example(r, dy):
    x, w, _ = r
    dw = jnp.zeros_like(w)
    for a, g in zip(x, dy, strict=True):
        dw = a.T @ g  # should be +=
    return dy @ w.T, dw, dy.sum((0, 1))


def product(a, b):
    return a @ b


def swapped(r, dy):
    a, b = r
    return a.T @ dy, dy @ b.T


def broadcast_batch_keeps_first(r, dy):
    a, b = r
    return dy @ b.mT, (a.mT @ dy)[:1]


def dense_relu(x, w, b):
    return jnp.maximum(x @ w + b, 0)


def mask_only_in_dx(r, dy):
    x, w, b = r
    g = jnp.where(x @ w + b > 0, dy, 0)
    return g @ w.T, x.T @ dy, g.sum(0)


def bilinear(x, w, z):
    return jnp.einsum("i,kij,j->k", x, w, z)


def bilinear_inputs_mixed(r, dy):
    x, w, z = r
    dx = jnp.einsum("k,kij,j->i", dy, w, z)
    return dx, jnp.einsum("k,i,j->kij", dy, x, z), jnp.einsum("k,kij,j->i", dy, w, x)


def low_rank(alpha, x, w, a, b):
    return x @ (w + alpha * (a @ b))


def low_rank_without_alpha(alpha, r, dy):
    x, w, a, b = r
    dw = x.T @ dy
    return dy @ (w + alpha * (a @ b)).T, dw, dw @ b.T, alpha * (a.T @ dw)


def low_rank_args(rng):
    return (0.5, *normals((4, 3), (3, 5), (3, 2), (2, 5))(rng))


def weight_norm(x, v, g):
    return x @ (g * v / jnp.linalg.norm(v, axis=0))


def direction_not_projected(r, dy):
    x, v, g = r
    length = jnp.linalg.norm(v, axis=0)
    dw = x.T @ dy
    return dy @ (g * v / length).T, g * dw / length, (dw * v / length).sum(0)


def tied_autoencoder(x, w):
    return jnp.tanh(x @ w) @ w.T


def encoder_detached(x, w):
    return jnp.tanh(x @ jax.lax.stop_gradient(w)) @ w.T


def outer(a, b):
    return a[:, None] * b


SQUARE = normals((4, 4), (4, 4), (4,))
BATCH = normals((4, 3), (3, 5), (5,))
SEQUENCE = normals((2, 4, 3), (3, 5), (5,))

ENTRIES = [
    Entry(
        "dense_weight_not_transposed",
        "the input's cotangent uses the weight as it is: right shape if it is square",
        rule(dense, weight_transposed),
        SQUARE,
        dense,
    ),
    Entry(
        "dense_bias_averaged",
        "the bias's cotangent is averaged over the batch, not summed",
        rule(dense, bias_mean),
        BATCH,
        dense,
    ),
    Entry(
        "dense_parameters_divided_by_batch",
        "parameters' cotangents are divided by the batch size, which the loss does already",
        rule(dense, divided_by_batch),
        BATCH,
        dense,
    ),
    Entry(
        "dense_weight_decay_in_the_rule",
        "weight decay is added to the weight's cotangent",
        rule(dense, weight_decay_added),
        BATCH,
        dense,
    ),
    Entry(
        "dense_bias_averaged_over_time",
        "the bias's cotangent is summed over the batch but averaged over time",
        rule(dense, bias_only_summed_over_batch),
        SEQUENCE,
        dense,
    ),
    Entry(
        "dense_weight_overwritten",
        "a loop over examples assigns the weight's cotangent where it should add",
        rule(dense, weight_of_last_example),
        SEQUENCE,
        dense,
    ),
    Entry(
        "matmul_operands_swapped",
        "the two cotangents are returned in the wrong order",
        rule(product, swapped),
        normals((3, 3), (3, 3)),
        product,
    ),
    Entry(
        "matmul_broadcast_batch_not_summed",
        "an operand shared by the batch gets the cotangent of the first example only",
        rule(product, broadcast_batch_keeps_first),
        normals((3, 2, 4), (1, 4, 5)),
        product,
    ),
    Entry(
        "dense_relu_mask_missing_for_weight",
        "the relu's mask is applied for input and bias but not for the weight",
        rule(dense_relu, mask_only_in_dx),
        BATCH,
        dense_relu,
    ),
    Entry(
        "bilinear_second_input_contracted_wrongly",
        "the second input's cotangent contracts the weight's other axis",
        rule(bilinear, bilinear_inputs_mixed),
        normals((3,), (4, 3, 3), (3,)),
        bilinear,
    ),
    Entry(
        "low_rank_adapter_misses_its_scale",
        "one of two adapter matrices' cotangents lacks the factor alpha",
        rule(low_rank, low_rank_without_alpha, nondiff_argnums=(0,)),
        low_rank_args,
        low_rank,
    ),
    Entry(
        "weight_norm_without_projection",
        "the direction's cotangent keeps its part along the direction",
        rule(weight_norm, direction_not_projected),
        normals((4, 3), (3, 5), (5,)),
        weight_norm,
    ),
    Entry(
        "tied_weight_used_once",
        "of a weight used twice, only the second use is differentiated",
        rule(tied_autoencoder, pullback_of(encoder_detached)),
        normals((4, 3), (3, 5)),
        tied_autoencoder,
    ),
    Entry(
        "outer_product_summed_over_the_wrong_axis",
        "both cotangents are summed over the other's axis, right in shape if equally long",
        rule(outer, lambda r, dy: ((dy * r[0][:, None]).sum(0), (dy * r[1]).sum(1))),
        normals((4,), (4,)),
    ),
]
