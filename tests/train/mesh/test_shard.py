"""Training states and steps laid out on a mesh."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh
from jax.sharding import PartitionSpec as P

from funcnn import train
from tests.support.mesh_nets import KEY, OPTIMIZER, TENSOR, filled, net, state


def one_device(**axes):
    names = tuple(axes) or ("data",)
    return Mesh(np.array(jax.devices()[:1]).reshape([1] * len(names)), names)


def test_a_layout_of_abstract_states_and_of_states_is_the_same():
    def make(first):
        numbers = jax.tree.map(lambda a: jnp.full(a.shape, 2, a.dtype), abstract.params)
        return abstract._replace(
            step=first, params=numbers, opt_state=OPTIMIZER.init(numbers), key=KEY
        )

    abstract = jax.eval_shape(state)
    whole = make(jnp.int32(0))
    mesh = one_device(data=1, model=1)
    layout = train.shard(abstract, mesh, rules=TENSOR, fully="data")
    assert layout == train.shard(whole, mesh, rules=TENSOR, fully="data")
    assert layout.batch.spec == P(("data",))
    made = layout.init(make, jnp.int32(0))
    jax.tree.map(np.testing.assert_array_equal, made.params, whole.params)
    assert (
        made.params["blocks"]["up"]["weight"].sharding
        == (layout.state.params["blocks"]["up"]["weight"])
    )


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_a_step_trains_in_place_and_leaves_what_was_placed(kind):
    mesh = jax.make_mesh((1,), ("data",), axis_types=(kind,))
    before = filled()
    layout = train.shard(before, mesh)

    def loss(params, batch, key):
        noise = jax.random.normal(key, batch["x"].shape, jnp.float32)
        y = net().apply(params, batch["x"] + noise)
        return (y**2).mean(), {"largest": abs(y).max()}

    step = train.make_step(loss, OPTIMIZER)
    batch = {"x": np.ones((8, 16), np.float32)}
    placed = layout.place(before)
    after, metrics = layout.jit(step)(placed, layout.place_batch(batch))
    assert jax.tree.leaves(placed.params)[0].is_deleted()
    wanted, same = jax.jit(step)(before, batch)  # which is there still
    jax.tree.map(np.testing.assert_array_equal, metrics, same)
    jax.tree.map(np.testing.assert_array_equal, after.params, wanted.params)
    assert jnp.issubdtype(after.key.dtype, jax.dtypes.prng_key)


def test_batches_go_along_the_axis_of_examples():
    layout = train.shard(
        jax.eval_shape(state), one_device(data=1, model=1), batch=("data", "model")
    )
    assert layout.batch.spec == P(("data", "model"))
    placed = layout.place_batch({"x": np.ones((3, 8, 2))}, axis=1)
    assert placed["x"].sharding.spec == P(None, ("data", "model"))


def test_several_steps_in_one_call():
    begun = filled()
    layout = train.shard(begun, one_device())

    def loss(params, batch, key):
        return (net().apply(params, batch) ** 2).mean()

    step = train.make_step(loss, OPTIMIZER)
    batches = np.random.default_rng(0).standard_normal((3, 8, 16)).astype(np.float32)
    steps = layout.jit(lambda state, batches: jax.lax.scan(step, state, batches), axis=1)
    _, metrics = steps(layout.place(begun), layout.place_batch(batches, axis=1))
    now, want, one = begun, [], jax.jit(step)
    for batch in batches:
        now, found = one(now, batch)
        want.append(found["loss"])
    np.testing.assert_allclose(metrics["loss"], want, 1e-5)


def test_wrong_use_is_told():
    mesh, mine = one_device(), jax.eval_shape(state)
    with pytest.raises(TypeError, match=r"^shard needs a TrainState; got dict\.$"):
        train.shard({}, mesh)
    with pytest.raises(TypeError, match=r"^shard needs a mesh of devices; got int\.$"):
        train.shard(mine, 8)
    for what in ("fully", "batch"):
        message = rf"^shard needs {what} among the mesh's axes \('data',\); got 'x'\.$"
        with pytest.raises(ValueError, match=message):
            train.shard(mine, mesh, **{what: "x"})
    message = (
        r"^place_batch needs .* on axis 1 .* 1 devices; got shape \(8,\) at \['x'\]\.$"
    )
    with pytest.raises(ValueError, match=message):
        train.shard(mine, mesh).place_batch({"x": np.ones(8)}, axis=1)
