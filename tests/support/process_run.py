"""One process of a run of several, with checkpoints: see test_processes.py.

python tests/process_run.py PROCESS PROCESSES PORT STEPS FOLDER
"""

import json
import sys

import jax
import numpy as np

from funcnn import layers, losses, optim, train

MODEL = layers.Serial(
    up=layers.Dense(64), tanh=layers.Tanh(), drop=layers.Dropout(0.2), down=layers.Dense(8)
)
OPTIMIZER = optim.adam(1e-2)


class Mine:
    """This process's part of each batch."""

    def __init__(self, data, parts, part):
        self._data, self._parts, self._part = data, parts, part

    def __iter__(self):
        return self

    def __next__(self):
        return jax.tree.map(
            lambda a: np.split(a, self._parts)[self._part], next(self._data)
        )

    def get_state(self):
        return self._data.get_state()

    def set_state(self, state):
        self._data.set_state(state)


def loss(params, batch, key):
    x, labels = batch
    return losses.softmax_cross_entropy(MODEL.apply(params, x, key=key), labels)


def make(key):
    return train.init(key, MODEL, OPTIMIZER, (1, 16))


def main():
    process, processes, port, steps = map(int, sys.argv[1:5])
    if processes > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(f"127.0.0.1:{port}", processes, process)
    key = jax.random.key(0)
    rng = np.random.default_rng(0)
    data = rng.standard_normal((96, 16), dtype=np.float32), rng.integers(0, 8, 96)
    mesh = jax.make_mesh((jax.device_count(),), ("data",))
    layout = train.shard(jax.eval_shape(make, key), mesh, fully="data")
    with train.Checkpoints(sys.argv[5]) as checkpoints:
        _, history = train.fit(
            train.make_step(loss, OPTIMIZER),
            layout.init(make, key),
            Mine(train.batches(data, 16, key=key), processes, process),
            steps=steps,
            layout=layout,
            checkpoints=checkpoints,
            checkpoint_every=2,
        )
    if process == 0:
        print(json.dumps(history.metrics["loss"].tolist()))
    if processes > 1:
        jax.distributed.shutdown()


if __name__ == "__main__":
    main()
