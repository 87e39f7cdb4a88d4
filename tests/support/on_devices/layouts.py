"""Losses are those of one device in every layout, by the exchanges that it needs."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from funcnn import layers, losses, optim, train
from tests.support.drawn_params import drawn_state
from tests.support.on_devices.collectives import collectives, gathered

STEPS = 100
BATCH = 16
OPTIMIZER = optim.chain(optim.clip_by_global_norm(1.0), optim.adamw(1e-3))


def cnn():
    return layers.Serial(
        stem=layers.Conv(8, 3),
        norm=layers.LayerNorm(),
        apart=layers.DepthwiseConv(3),
        pool=layers.MaxPool(2),
        block=layers.Residual(layers.GroupNorm(4), layers.Gelu(), layers.Conv(8, 3)),
        smooth=layers.AvgPool(3, 2, "SAME"),
        flat=layers.Flatten(),
        hidden=layers.Dense(32),
        relu=layers.Relu(),
        head=layers.Dense(8),
    )


def images(rng):
    """Images, and which of eight places is bright."""
    labels = rng.integers(0, 8, BATCH)
    x = rng.standard_normal((BATCH, 8, 8, 3))
    x[np.arange(BATCH), labels] += 2
    return x.astype(np.float32), labels.astype(np.int32)


def texts(rng):
    """Words, each of which tells the next."""
    words = rng.integers(0, 32, (BATCH, 1)) + 3 * np.arange(17)
    words = (words % 32).astype(np.int32)
    return words[:, :-1], words[:, 1:]


def vectors(rng):
    """Vectors, and which of eight places is greatest."""
    x = rng.standard_normal((BATCH, 16)).astype(np.float32)
    return x, x[:, :8].argmax(-1).astype(np.int32)


MODELS = {
    "mlp": (
        layers.Serial(up=layers.Dense(64), relu=layers.Relu(), down=layers.Dense(8)),
        vectors,
        [
            ("up/weight", P(None, "model")),
            ("up/bias", P("model")),
            ("down/weight", P("model")),
        ],
    ),
    "cnn": (
        cnn(),
        images,
        [
            ("hidden/weight", P(None, "model")),
            ("hidden/bias", P("model")),
            ("head/weight", P("model")),
        ],
    ),
    "transformer": (
        layers.Transformer(32, 16, 2, 2),
        texts,
        [
            ("blocks/attention/output/weight", P(None, "model")),
            ("blocks/attention/output/bias", P()),
            ("blocks/attention/*/weight", P(None, None, "model")),
            ("blocks/attention/*/bias", P(None, "model")),
            ("blocks/mlp/hidden/weight", P(None, None, "model")),
            ("blocks/mlp/hidden/bias", P(None, "model")),
            ("blocks/mlp/output/weight", P(None, "model")),
        ],
    ),
}


def run(step, state, batches):
    found = []
    for batch in batches:
        state, metrics = step(state, batch)
        # waited for: so many devices on few cores may wait for each other for ever
        found.append(float(metrics["loss"]))
    return np.array(found), state


def most_held(tree):
    """The bytes of arrays that a device holds, on the one with the most."""
    count: Counter = Counter()
    for a in jax.tree.leaves(tree):
        for shard in a.addressable_shards:
            count[shard.device] += shard.data.nbytes
    return max(count.values())


def gatherable(layout, state):
    """The shapes of params, and of a layer's of a stack, as rules alone cut them."""
    found = set()
    for a, sharding in zip(
        jax.tree.leaves(state.params), jax.tree.leaves(layout.state.params), strict=True
    ):
        ruled = P(*(axis if axis == "model" else None for axis in sharding.spec))
        shape = NamedSharding(layout.mesh, ruled).shard_shape(a.shape)
        found |= {shape, shape[1:]}
    return found


def squeezed(shape):
    return shape[1:] if shape[0] == 1 else shape


def check(name, model, examples, rules, kinds, count):
    def loss(params, batch, key):
        noise = 1e-3 * jax.random.normal(key, (BATCH,), jnp.float32)
        logits = model.apply(params, batch[0])
        return losses.softmax_cross_entropy(logits, batch[1]) + noise.mean()

    rng = np.random.default_rng(0)
    batches = [examples(rng) for _ in range(STEPS)]
    state = drawn_state(model, OPTIMIZER, batches[0][0])
    step = train.make_step(loss, OPTIMIZER)
    want, _ = run(jax.jit(step), state, batches)
    assert want[-1] < 0.8 * want[0]
    if name == "mlp" or count == STEPS:
        few = min(count, 10)
        check_explicit(step, state, batches[:few], want[:few])
    eight = jax.make_mesh((8,), ("data",))
    four_two = jax.make_mesh((4, 2), ("data", "model"))
    layouts = {
        "data": train.shard(state, eight),
        "fully": train.shard(state, eight, fully="data"),
        "tensor": train.shard(state, four_two, rules=rules),
        "both": train.shard(state, four_two, rules=rules, fully="data"),
    }
    for kind in kinds:
        layout = layouts[kind]
        placed = layout.place(state)
        placed_batches = map(layout.place_batch, batches[:count])
        program = layout.jit(step).lower(placed, layout.place_batch(batches[0])).compile()
        found = collectives(program)
        where = f"{name}, {kind}: {found}, {gathered(program)}"
        gathers = {"all-gather"} if kind in ("fully", "both") else set()
        assert set(found) == {"all-reduce"} | gathers, where
        assert set(map(squeezed, gathered(program))) <= gatherable(layout, state), where
        got, _ = run(program, placed, placed_batches)
        np.testing.assert_allclose(got, want[:count], 1e-5, err_msg=where)


def check_explicit(step, state, batches, want):
    """The same where types of arrays say how they are spread, if that is by examples."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        state = jax.device_put(state, NamedSharding(mesh, P()))
        over = NamedSharding(mesh, P("data"))
        got, _ = run(jax.jit(step), state, (jax.device_put(b, over) for b in batches))
    np.testing.assert_allclose(got, want, 1e-5)


def check_memory(depth=16, width=64):
    """Fully sharded, a device has its part, and gathers no more than a layer at a time."""
    block = layers.Residual(layers.Dense(4 * width), layers.Gelu(), layers.Dense(width))
    model = layers.Stack(block, depth)
    optimizer = optim.adam(1e-3)

    def loss(params, batch, key):
        return (model.apply(params, batch) ** 2).mean()

    def make(key):
        return train.init(key, model, optimizer, (16, width))

    key = jax.random.key(0)
    shapes = jax.eval_shape(make, key)
    layout = train.shard(shapes, jax.make_mesh((8,), ("data",)), fully="data")
    state = layout.init(make, key)
    params = sum(a.nbytes for a in jax.tree.leaves(state.params))
    few = 2**10  # counts, and arrays that are sums
    assert 8 * most_held(state.params) <= params
    assert 8 * most_held(state.opt_state) <= 2 * params + few
    batch = layout.place_batch(np.ones((16, width), np.float32))
    step = layout.jit(train.make_step(loss, optimizer))
    memory = step.lower(state, batch).compile().memory_analysis()
    assert memory.argument_size_in_bytes <= 3 * params / 8 + batch.nbytes / 8 + few
    # an eighth of the gradients and of the updates; of a layer its params and its gradients
    activations = depth * 4 * (16 / 8) * 15 * width
    layer = params / depth
    assert memory.temp_size_in_bytes <= 2 * params / 8 + 2.1 * layer + activations
    after, _ = step(state, batch)
    assert 8 * most_held(after.params) <= params


ALL = ("data", "fully", "tensor", "both")
QUICKLY = {"mlp": ALL, "cnn": ("both",), "transformer": ("tensor",)}


def main(folder, thorough):
    """In all layouts and for many steps, or larger models in one layout and for a few."""
    del folder
    for name, made in MODELS.items():
        check(name, *made, ALL if thorough else QUICKLY[name], STEPS if thorough else 10)
    check_memory()
