"""Pools over all of an image."""

import jax
import jax.numpy as jnp
import numpy as np

from funcnn.layers import GlobalAvgPool
from tests.support.layers import assert_equal, normal


def test_global_avg_pool_sums_in_float32():
    # in bfloat16, 256 + 1 is 256
    rough = np.full((1, 40, 40, 1), 1.0, jnp.bfloat16)
    fine = [normal(shape) for shape in ((2, 5, 3), (2, 2, 3, 4, 5))]
    pooled = jax.jit(lambda xs: [GlobalAvgPool().apply({}, x) for x in xs])([rough, *fine])
    assert (pooled[0].dtype, pooled[0].tolist()) == (jnp.bfloat16, [[1.0]])
    for x, y in zip(fine, pooled[1:], strict=True):
        axes = tuple(range(1, x.ndim - 1))
        assert_equal(y, np.asarray(x).mean(axes), rtol=1e-14)
