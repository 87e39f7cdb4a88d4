"""A perceptron as wide as a transformer, trained by several processes.

python examples/processes.py --processes 4 --steps 100

Each process has a device, a part of every batch and, fully sharded, a part of the params.
They find each other through JAX's distributed runtime, here over loopback, and exchange
what they must by gloo. On a cluster the scheduler starts the processes, one a host, and
`jax.distributed.initialize` finds them with fewer words; what `work` does stays the same.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path

import digits
import jax
import options

from funcnn import losses, optim, train
from funcnn.layers import Dense, Flatten, Gelu, Layer, LayerNorm, Residual, Serial, Stack

STEPS = 100
WIDTH = 512
DEPTH = 4


def model() -> Layer:
    """Return the network: 8.4 million params in blocks like a transformer's."""
    block = Residual(LayerNorm(), Dense(4 * WIDTH), Gelu(), Dense(WIDTH))
    return Serial(
        flat=Flatten(), stem=Dense(WIDTH), blocks=Stack(block, DEPTH), head=Dense(10)
    )


def loss(params, batch: digits.Split, key):
    logits = model().apply(params, batch.images, key=key)
    return digits.cross_entropy(logits, batch.labels)


def part(batch: digits.Split) -> digits.Split:
    """This process's share of a batch. It need not have the others'."""
    size = len(batch.labels) // jax.process_count()
    first = jax.process_index() * size
    return jax.tree.map(lambda a: a[first : first + size], batch)


def work(args) -> None:
    """Train, and print if this is the first process."""
    first = jax.process_index() == 0
    data = digits.load(args.seed)
    init_key, order_key = jax.random.split(jax.random.key(args.seed))
    optimizer = optim.adam(2e-4)

    def make(key):
        return train.init(key, model(), optimizer, digits.SHAPE)

    mesh = jax.make_mesh((jax.device_count(),), ("data",))
    layout = train.shard(jax.eval_shape(make, init_key), mesh, fully="data")
    state = layout.init(make, init_key)
    state, history = train.fit(
        train.make_step(loss, optimizer),
        state,
        map(part, train.batches(data.train, digits.BATCH, key=order_key)),
        steps=args.steps,
        layout=layout,
        progress=True,
    )

    def evaluate(state, batch):
        logits = model().apply(state.params, batch.images)
        return state, losses.accuracy(logits, batch.labels)

    # as many digits as all processes can share evenly
    count = len(data.test.labels) // jax.process_count() * jax.process_count()
    test = jax.tree.map(lambda a: a[:count], data.test)
    _, accuracy = layout.jit(evaluate)(state, layout.place_batch(part(test)))
    if first:
        print(f"{jax.process_count()} processes, {jax.device_count()} devices.")
        print(digits.verdict(float(accuracy), count))
        if args.log:
            Path(args.log).write_text(json.dumps(history.metrics["loss"].tolist()))


def join(args) -> None:
    """Be one of the processes: find the others, work, and leave together."""
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    here = f"127.0.0.1:{args.port}"
    with os.fdopen(os.dup(1), "w") as out, redirect_stdout(out):
        with Path(os.devnull).open("w") as nowhere:  # for what gloo prints of connections
            os.dup2(nowhere.fileno(), 1)
        jax.distributed.initialize(here, args.processes, args.process)
        work(args)
        jax.distributed.shutdown()


def start(args) -> None:
    """Start the processes; if one fails, end the others and say which it was, and why."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    again = [sys.executable, *(f"-W{w}" for w in sys.warnoptions), *sys.argv]
    again += ["--port", str(port), "--process"]
    with tempfile.TemporaryDirectory() as folder:
        words = [Path(folder, f"{i}.txt") for i in range(args.processes)]
        processes = []
        try:
            for i, path in enumerate(words):
                with path.open("w") as said:  # the first says what it has to say here
                    err = said if i else None
                    processes.append(subprocess.Popen([*again, str(i)], stderr=err))
            failed = wait(processes)
        finally:
            for p in processes:
                p.kill()
                p.wait()
        if failed is not None:
            last = words[failed].read_text().strip().splitlines()[-1:]
            code = processes[failed].returncode
            why = [f"Process {failed} of {args.processes} ended with code {code};"]
            sys.exit(" ".join([*why, "the others were ended.", *last]))


def wait(processes: list[subprocess.Popen]) -> int | None:
    """Wait until all processes have ended, or one has failed: which it is, or None."""
    while True:
        codes = [p.poll() for p in processes]
        for i, code in enumerate(codes):
            if code:
                return i
        if None not in codes:
            return None
        time.sleep(0.05)


def main():
    parser = options.parser("Train an MLP on several processes.", STEPS)
    parser.add_argument(
        "--processes", type=options.positive, default=2, help="how many (%(default)s)"
    )
    parser.add_argument("--log", metavar="JSON", help="where to write the losses")
    for internal in ("--process", "--port"):
        parser.add_argument(internal, type=options.natural, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.processes == 1:
        work(args)
    elif args.process is not None:
        join(args)
    else:
        start(args)


if __name__ == "__main__":
    main()
