"""One of two processes, each of two devices: what it computes, and a run with checkpoints.

python -m tests.support.process_run PROCESS PORT STEPS FOLDER LAYOUTS

In so many layouts, a step from one state is that of one device. Then comes a run, whose
losses the first process prints, and from whose checkpoints others go on.
"""

import json
import sys

import jax
import numpy as np
from jax.sharding import PartitionSpec as P

from funcnn import layers, optim, train
from funcnn import losses as losses_of
from tests.support.drawn_params import drawn_state

MODEL = layers.Serial(layers.Dense(64), layers.Tanh(), layers.Dropout(0.2), layers.Dense(8))
OPTIMIZER = optim.adam(1e-2)
RULES = [("0/weight", P(None, "model"))]
LAYOUTS = [
    ({"model": 2, "data": 2}, {"rules": RULES, "fully": "data"}),
    ({"data": 4}, {}),
    ({"data": 4}, {"fully": "data"}),
    ({"data": 2, "model": 2}, {"rules": RULES}),
]


class Mine:
    """This process's part of each batch."""

    def __init__(self, data):
        self._data = data

    def __iter__(self):
        return self

    def __next__(self):
        return jax.tree.map(
            lambda a: np.split(a, jax.process_count())[jax.process_index()],
            next(self._data),
        )

    def get_state(self):
        return self._data.get_state()

    def set_state(self, state):
        self._data.set_state(state)


def loss(params, batch, key):
    x, labels = batch
    return losses_of.softmax_cross_entropy(MODEL.apply(params, x, key=key), labels)


STEP = train.make_step(loss, OPTIMIZER)


def make(key):
    del key  # what draws by one takes long to compile
    return drawn_state(MODEL, OPTIMIZER, (1, 16))


def batches():
    rng = np.random.default_rng(0)
    data = rng.standard_normal((96, 16), dtype=np.float32), rng.integers(0, 8, 96)
    return train.batches(data, 16, key=jax.random.key(0))


def losses(steps, folder):
    """Those of a run, fully sharded, that goes on as far as `steps`."""
    mesh = jax.make_mesh((jax.device_count(),), ("data",))
    key = jax.random.key(0)
    layout = train.shard(jax.eval_shape(make, key), mesh, fully="data")
    with train.Checkpoints(folder) as checkpoints:
        _, history = train.fit(
            STEP,
            layout.init(make, key),
            Mine(batches()),
            steps=steps,
            layout=layout,
            checkpoints=checkpoints,
            checkpoint_every=2,
        )
    return history.metrics["loss"].tolist()


def check_layouts(count):
    """Place a state, feed a part of a batch, and agree with one device."""
    state, batch = jax.jit(make)(jax.random.key(0)), next(batches())
    mine = next(Mine(batches()))
    after, metrics = jax.jit(STEP)(state, batch)
    for axes, options in LAYOUTS[:count]:
        mesh = jax.make_mesh(tuple(axes.values()), tuple(axes))
        layout = train.shard(state, mesh, **options)
        # else each process has devices for all examples
        given = mine if next(iter(axes)) == "data" else batch
        got, same = layout.jit(STEP)(layout.place(state), layout.place_batch(given))
        np.testing.assert_allclose(same["loss"], metrics["loss"], 1e-6)
        for a, b in zip(
            jax.tree.leaves(got.params), jax.tree.leaves(after.params), strict=True
        ):
            for part in a.addressable_shards:
                np.testing.assert_allclose(part.data, np.asarray(b)[part.index], 1e-5, 1e-6)


def main():
    process, port, steps, folder, layouts = sys.argv[1:]
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_num_cpu_devices", 2)
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, int(process))
    check_layouts(int(layouts))
    found = losses(int(steps), folder)
    if process == "0":
        print(json.dumps(found))
    jax.distributed.shutdown()


if __name__ == "__main__":
    main()
