"""A checkpoint of one device is restored on eight, and one of eight saved for one."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from funcnn import optim, train

FROM_ONE, FROM_EIGHT = "from_one", "from_eight"  # where they are, by the process that saves


def made():
    """A state, in any process."""
    w = jnp.arange(64, dtype=jnp.float32).reshape(8, 8)
    params = {"w": w, "b": jnp.zeros(3, jnp.bfloat16)}
    keys = {"keys": jax.random.split(jax.random.key(1), 8)}
    opt_state = optim.adam(0.1).init(params)
    return train.TrainState(jnp.int32(5), params | keys, opt_state, jax.random.key(7))


def main(folder, thorough):
    """Restore what the process that started this one has saved, and save for it."""
    del thorough
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    state = jax.jit(made)()
    shardings = jax.tree.map(
        lambda a: NamedSharding(mesh, P("data", "model") if a.ndim == 2 else P()), state
    )
    shardings.params["keys"] = NamedSharding(mesh, P("data"))
    with train.Checkpoints(folder / FROM_EIGHT) as checkpoints:
        checkpoints.save(jax.device_put(state, shardings))
    like = jax.tree.map(
        lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s), state, shardings
    )
    with train.Checkpoints(folder / FROM_ONE) as checkpoints:
        back = checkpoints.restore(like)
    assert jax.tree.map(lambda a: a.sharding, back) == shardings
    for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(state), strict=True):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = map(jax.random.key_data, (a, b))
        np.testing.assert_array_equal(a, b)
    assert back.params["w"].addressable_shards[0].data.shape == (2, 4)
