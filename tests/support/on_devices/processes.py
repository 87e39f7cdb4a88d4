"""Two processes of two devices each place a state, feed their parts, and agree with one."""

import socket
import subprocess
import sys

import jax
import numpy as np
from jax.sharding import PartitionSpec as P

from funcnn import layers, losses, optim, train

LAYOUTS = [
    ({"data": 4}, {}),
    ({"data": 4}, {"fully": "data"}),
    ({"data": 2, "model": 2}, {"rules": [("0/weight", P(None, "model"))]}),
    ({"model": 2, "data": 2}, {"rules": [("0/weight", P(None, "model"))], "fully": "data"}),
]


def work(process, port):
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_num_cpu_devices", 2)
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, process)
    model = layers.Serial(layers.Dense(16), layers.Dropout(0.5), layers.Dense(8))
    optimizer = optim.adam(1e-3)
    state = train.init(jax.random.key(0), model, optimizer, (8, 8))
    batch = np.random.default_rng(0).standard_normal((16, 8), "float32"), np.arange(16) % 8

    def loss(params, batch, key):
        return losses.softmax_cross_entropy(
            model.apply(params, batch[0], key=key), batch[1]
        )

    step = train.make_step(loss, optimizer)
    after, metrics = jax.jit(step)(state, batch)
    for axes, options in LAYOUTS:
        mesh = jax.make_mesh(tuple(axes.values()), tuple(axes))
        layout = train.shard(state, mesh, **options)
        mine = batch
        if next(iter(axes)) == "data":  # else each process has devices for all examples
            mine = jax.tree.map(lambda a: a[8 * process : 8 * process + 8], batch)
        got, same = layout.jit(step)(layout.place(state), layout.place_batch(mine))
        np.testing.assert_allclose(same["loss"], metrics["loss"], 1e-6)
        for a, b in zip(
            jax.tree.leaves(got.params), jax.tree.leaves(after.params), strict=True
        ):
            for part in a.addressable_shards:
                np.testing.assert_allclose(part.data, np.asarray(b)[part.index], 1e-5, 1e-6)
    jax.distributed.shutdown()


def main():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-W", "error", __file__]
    processes = [
        subprocess.Popen([*command, str(i), port], stdout=subprocess.DEVNULL)
        for i in range(2)
    ]
    try:
        codes = [p.wait(timeout=120) for p in processes]
    finally:
        for p in processes:
            p.kill()
    assert codes == [0, 0], codes
    print("as it should be")


if __name__ == "__main__":
    if sys.argv[1:]:
        work(int(sys.argv[1]), sys.argv[2])
    else:
        main()
