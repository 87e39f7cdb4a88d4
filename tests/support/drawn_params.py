"""A model's params as NumPy draws them: what `init` draws takes seconds to compile."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import keystr, tree_map_with_path

from funcnn import train

ONES, ZEROS = {"scale"}, {"bias", "offset"}


def drawn(model, shape):
    """Params like those of `model.init`: weights by their inputs, scales 1, biases 0."""
    rng = np.random.default_rng(0)

    def leaf(path, a):
        name = keystr(path[-1:], simple=True)
        if name in ONES | ZEROS:
            return jnp.asarray(np.full(a.shape, name in ONES), a.dtype)
        inputs = math.prod(a.shape[:-1] if a.ndim == 4 else a.shape[-2:-1])  # 4: of conv
        return jnp.asarray(rng.standard_normal(a.shape) / inputs**0.5, a.dtype)

    shapes = jax.eval_shape(lambda key: model.init(key, shape), jax.random.key(0))
    return tree_map_with_path(leaf, shapes)


def drawn_state(model, optimizer, shape):
    """A state like that of `train.init`."""
    params = drawn(model, shape)
    key = jax.random.key(1)
    return train.TrainState(jnp.int32(0), params, optimizer.init(params), key)
