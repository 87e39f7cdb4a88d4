"""A run that is killed again and again must end as one that never was.

    python tests/support/killed_runs.py --kills 20

starts a process that trains a small network, with dropout, on shuffled data, and saves
every few steps; kills it by SIGKILL at a random moment, every other time inside a save; and
starts another in the same directory, which goes on. After each kill, every checkpoint there
is must have the bits that a run without any had at that step, and a run that goes on from
the last must end with the same bits.
"""

import argparse
import hashlib
import itertools
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

from funcnn import layers, losses, optim, train

EVERY = 3  # steps between saves
ROOT = Path(__file__).parents[2]
MODEL = layers.Serial(
    first=layers.Dense(64),
    relu=layers.Relu(),
    drop=layers.Dropout(0.3),
    last=layers.Dense(5),
)
OPTIMIZER = optim.adamw(1e-3)


def loss(params, batch, key):
    x, labels = batch
    logits = MODEL.apply(params, x, key=key)
    return losses.softmax_cross_entropy(logits, labels)


STEP = jax.jit(train.make_step(loss, OPTIMIZER), donate_argnums=0)


def start():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((100, 20)).astype(np.float32)
    data = train.batches((x, x[:, :5].argmax(-1)), 8, key=jax.random.key(1))
    state = train.init(jax.random.key(0), MODEL, OPTIMIZER, (1, 20))
    return state, train.prefetch(data)


def run(directory, steps):
    """The loop that is killed."""
    state, data = start()
    with train.Checkpoints(directory, keep=2) as checkpoints:
        if checkpoints.latest() is not None:
            state = checkpoints.restore(state, data)
        for batch in itertools.islice(data, steps - int(state.step)):
            state, _ = STEP(state, batch)
            if int(state.step) % EVERY == 0:
                checkpoints.save(state, data)


def digest(state):
    """A hash of all bits of a state."""
    state = state._replace(key=jax.random.key_data(state.key))
    total = hashlib.sha256()
    for leaf in jax.tree.leaves(state):
        total.update(np.asarray(leaf).tobytes())
    return total.hexdigest()


def digests(state, data, steps):
    """By step, what a run that is never stopped goes through."""
    found = {}
    for batch in itertools.islice(data, steps - int(state.step)):
        state, _ = STEP(state, batch)
        found[int(state.step)] = digest(state)
    return found


def unfinished(directory):
    """The directories of saves that have begun and not ended."""
    with os.scandir(directory) as entries:
        return {(e.name, e.inode()) for e in entries if "tmp" in e.name}


def finished(directory):
    """The last step that was saved."""
    return max((int(name) for name in os.listdir(directory) if name.isdigit()), default=0)


def kill_once(directory, steps, moments, inside):
    """Start a process, kill it, and return whether that was inside a save of its own."""
    before = unfinished(directory)
    program = [sys.executable, __file__, "--run", directory, "--steps", steps]
    cache = "JAX_COMPILATION_CACHE_DIR"
    clean = {k: v for k, v in os.environ.items() if not k.startswith("JAX_") or k == cache}
    clean |= {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    # compiled as those here are, or bits may differ
    quickly = jax.config.read("jax_disable_most_optimizations")
    clean |= {"JAX_DISABLE_MOST_OPTIMIZATIONS": str(int(quickly))}
    # read, but not written, as half a program could be left there
    clean |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "1e9"}
    with subprocess.Popen(
        [*map(str, program)], stdout=subprocess.PIPE, text=True, env=clean
    ) as child:
        try:
            begun = child.stdout.readline()
            assert begun == "begins\n", begun
            there = finished(directory)
            if moments.random() < 0.7:  # else maybe while it restores
                while child.poll() is None and finished(directory) <= there:
                    time.sleep(0.001)
            time.sleep(moments.uniform(0, steps / 300))
            while inside and child.poll() is None:
                if unfinished(directory) - before:
                    time.sleep(moments.uniform(0, 0.01))
                    break
        finally:
            child.kill()
    return bool(unfinished(directory) - before)


def check(directory, steps, want):
    """Check all that a killed process left, without touching it; return the last step."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(shutil.copytree(directory, Path(scratch) / "copy"))
        checkpoints = train.Checkpoints(copy)
        last = checkpoints.latest()
        for name in os.listdir(copy):
            if name.isdigit():
                state, data = start()
                try:
                    state = checkpoints.restore(state, data, int(name))
                except OSError:
                    # killed while it removed an old one: refused, and never the last
                    assert int(name) != last, f"step {name}, the last, cannot be read"
                    continue
                assert digest(state) == want[int(name)], f"step {name} has other bits"
                if int(name) == last:
                    rest = digests(state, data, steps)
                    assert rest == {s: d for s, d in want.items() if s > last}
        checkpoints.close()
    return last


def kill(kills, steps, seed):
    """Kill `kills` times, print what was found; return how many were inside a save."""
    moments, want = random.Random(seed), digests(*start(), steps)
    hits, ends = 0, 0
    with tempfile.TemporaryDirectory() as scratch:
        for i in range(kills):
            directory = Path(scratch) / str(ends)
            directory.mkdir(exist_ok=True)
            hit = kill_once(directory, steps, moments, inside=i % 2 == 0)
            hits += hit
            last = check(directory, steps, want)
            where = "inside a save" if hit else "between saves"
            print(
                f"kill {i + 1}, {where}: the last checkpoint is of step {last}", flush=True
            )
            ends += last == steps  # too late, it had ended: begin another
        run(directory, steps)
        assert check(directory, steps, want) == steps
    print(f"{kills} kills, {hits} inside a save: the same bits after each")
    return hits


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=300, help="of a run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", help="the directory of one run, to be killed")
    arguments = parser.parse_args()
    if arguments.run:
        STEP(start()[0], next(start()[1]))  # is compiled, so that more is killed than that
        print("begins", flush=True)
        run(arguments.run, arguments.steps)
    else:
        kill(arguments.kills, arguments.steps, arguments.seed)
