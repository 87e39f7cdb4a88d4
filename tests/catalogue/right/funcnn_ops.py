"""funcnn's own ops, in the dtypes that users have."""

from functools import partial

import jax
import numpy as np

from funcnn import ops
from tests.catalogue.entry import Entry
from tests.catalogue.right import array, grid, labels, normal, uniform


def key(rng):
    return jax.random.key(rng.integers(1 << 31))


def probabilities(rng, *shape, dtype="float32"):
    return array(rng.dirichlet([1.0] * shape[-1], shape[:-1]), dtype)


ENTRIES = [
    Entry(
        "ops_relu_at_0",
        "bfloat16 zeros.",
        ops.relu,
        lambda rng: (grid(rng, -1, 1, 9, dtype="bfloat16"),),
    ),
    Entry(
        "ops_leaky_relu",
        "A static slope, float16.",
        ops.leaky_relu,
        lambda rng: (normal(rng, 9, dtype="float16"), 0.2),
    ),
    Entry("ops_elu", "At its kink.", ops.elu, lambda rng: (grid(rng, -2, 2, 9), 1.5)),
    Entry(
        "ops_gelu",
        "float16, the tanh approximation.",
        ops.gelu,
        lambda rng: (2 * normal(rng, 9, dtype="float16"),),
    ),
    Entry(
        "ops_gelu_exact",
        "A static boolean.",
        ops.gelu,
        lambda rng: (2 * normal(rng, 9), False),
        jax.nn.gelu,
    ),
    Entry(
        "ops_silu",
        "bfloat16.",
        ops.silu,
        lambda rng: (3 * normal(rng, 9, dtype="bfloat16"),),
    ),
    Entry(
        "ops_sigmoid",
        "From the rounded output, bfloat16.",
        ops.sigmoid,
        lambda rng: (3 * normal(rng, 9, dtype="bfloat16"),),
    ),
    Entry(
        "ops_tanh",
        "From the rounded output, float16.",
        ops.tanh,
        lambda rng: (normal(rng, 9, dtype="float16"),),
    ),
    Entry(
        "ops_softplus",
        "Hundreds to either side, among numbers near 0.",
        ops.softplus,
        lambda rng: (array([0.0, 1.0, *100 * rng.standard_normal(7)]),),
    ),
    Entry(
        "ops_softmax",
        "The first axis, float16.",
        ops.softmax,
        lambda rng: (2 * normal(rng, 5, 3, dtype="float16"), 0),
    ),
    Entry(
        "ops_log_softmax",
        "A row that is masked throughout.",
        ops.log_softmax,
        lambda rng: (array([[-np.inf] * 4, rng.standard_normal(4)]),),
    ),
    Entry(
        "ops_softmax_cross_entropy",
        "bfloat16 logits, a float32 loss, label smoothing and z-loss.",
        ops.softmax_cross_entropy,
        lambda rng: (2 * normal(rng, 4, 5, dtype="bfloat16"), labels(rng, 5, 4), 0.1, 1e-2),
    ),
    Entry(
        "ops_softmax_cross_entropy_of_floats",
        "Float labels with a cotangent.",
        ops.softmax_cross_entropy,
        lambda rng: (2 * normal(rng, 4, 5), probabilities(rng, 4, 5)),
    ),
    Entry(
        "ops_cross_entropy",
        "Probabilities down to 1e-3.",
        ops.cross_entropy,
        lambda rng: (probabilities(rng, 4, 5), labels(rng, 5, 4)),
    ),
    Entry(
        "ops_mse",
        "Two dtypes.",
        ops.mse,
        lambda rng: (normal(rng, 3, 4, dtype="float16"), normal(rng, 3, 4)),
    ),
    Entry(
        "ops_dense",
        "bfloat16, with a bias.",
        ops.dense,
        lambda rng: tuple(
            normal(rng, *s, dtype="bfloat16") for s in ((5, 8), (8, 3), (3,))
        ),
    ),
    Entry(
        "ops_dense_without_bias",
        "float16 inputs, float32 weights, None.",
        ops.dense,
        lambda rng: (normal(rng, 2, 5, 3, dtype="float16"), normal(rng, 3, 2), None),
    ),
    Entry(
        "ops_conv",
        "Strides and groups.",
        partial(ops.conv, stride=2, groups=2),
        lambda rng: (normal(rng, 2, 5, 6, 4), normal(rng, 3, 3, 2, 4), normal(rng, 4)),
    ),
    Entry(
        "ops_conv_bfloat16",
        "One axis, dilated.",
        partial(ops.conv, dilation=2),
        lambda rng: tuple(
            normal(rng, *s, dtype="bfloat16") for s in ((2, 9, 3), (3, 3, 2))
        ),
    ),
    Entry(
        "ops_max_pool_with_ties",
        "Overlapping windows over zeros and ones.",
        ops.max_pool,
        lambda rng: (grid(rng, 0, 1, 2, 5, 5, 2), 3, 1, "SAME"),
    ),
    Entry(
        "ops_avg_pool",
        "float16, windows that overlap the padding.",
        ops.avg_pool,
        lambda rng: (normal(rng, 2, 5, 6, 2, dtype="float16"), 3, 2, "SAME"),
    ),
    Entry(
        "ops_im2col", "A gather.", ops.im2col, lambda rng: (normal(rng, 2, 5, 4, 2), 3, 2)
    ),
    Entry(
        "ops_col2im",
        "A scatter, bfloat16.",
        ops.col2im,
        lambda rng: (normal(rng, 1, 4, 4, 18, dtype="bfloat16"), (1, 4, 4, 2), 3),
    ),
    Entry(
        "ops_layer_norm",
        "Activations in bfloat16, parameters in float32.",
        ops.layer_norm,
        lambda rng: (
            3 + 2 * normal(rng, 4, 8, dtype="bfloat16"),
            normal(rng, 8),
            normal(rng, 8),
        ),
    ),
    Entry(
        "ops_layer_norm_far_from_zero",
        "A spread of 1 around 1e3.",
        ops.layer_norm,
        lambda rng: (1e3 + normal(rng, 4, 8), uniform(rng, 0.5, 2, 8), normal(rng, 8)),
    ),
    Entry(
        "ops_dropout",
        "A key, and a mask that is another one with x64 on.",
        ops.dropout,
        lambda rng: (key(rng), normal(rng, 4, 5, dtype="bfloat16"), 0.3),
    ),
    Entry(
        "ops_matmul",
        "Stacks that broadcast; two dtypes.",
        ops.matmul,
        lambda rng: (normal(rng, 2, 1, 3, 4), normal(rng, 5, 4, 2, dtype="bfloat16")),
    ),
    Entry(
        "ops_dot",
        "A stack and a vector, float16.",
        ops.dot,
        lambda rng: (
            normal(rng, 2, 3, 4, dtype="float16"),
            normal(rng, 4, dtype="float16"),
        ),
    ),
    Entry(
        "ops_tensordot",
        "Crossed axes.",
        ops.tensordot,
        lambda rng: (normal(rng, 2, 3, 4), normal(rng, 4, 5, 2), ((0, 2), (2, 0))),
    ),
]
