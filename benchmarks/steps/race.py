"""Training steps of all libraries that are installed, in turns."""

import time
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec

import jax
import numpy as np

from benchmarks.results import Cost, Row
from benchmarks.steps.models import Model
from benchmarks.steps.trainer import Trainer
from benchmarks.timing import paired, ratio

# Peers by the module that they are installed as; the first ones are JAX.
PEERS = {"flax": "flax", "equinox": "equinox", "haiku": "haiku", "pytorch": "torch"}
JAX_PEERS = ("flax", "equinox", "haiku")
BOUND = 1e-4  # of the loss: float32 in another order
STEPS = 3  # after which losses are compared
TURN = 0.1  # seconds in which a library takes steps, as in training
PAUSE = 0.02  # seconds in which one library's threads go to sleep before another's turn


class DivergenceError(Exception):
    """Two libraries that train the same model come to different losses."""


def installed(names: Sequence[str] = tuple(PEERS)) -> list[str]:
    """Those of some peers that can be imported, with what they are trained by."""
    needed = {name: {PEERS[name]} for name in names}
    for name in set(JAX_PEERS) & set(names):
        needed[name].add("optax")
    return [name for name in names if all(map(find_spec, needed[name]))]


def trainer(library: str, model: Model, params: list[dict]) -> Trainer:
    """A library's model and random data, the same for all."""
    rng = np.random.default_rng(1)
    if model.tokens:
        inputs = rng.integers(0, model.classes, model.shape, dtype=np.int32)
    else:
        inputs = rng.standard_normal(model.shape, dtype=np.float32)
    labels = rng.integers(0, model.classes, model.labels, dtype=np.int32)
    name = "torch" if library == "pytorch" else library
    module = import_module(f"benchmarks.steps.with_{name}")
    return module.prepare(model, params, inputs, labels)


class Runner:
    """A training run that goes on by a step whenever it is called."""

    def __init__(self, step: Callable, made: Trainer, on_jax: bool):
        self.step, self.state, self.batch = step, made.state, made.batch
        if on_jax:  # copied: it is donated
            self.state = jax.tree.map(lambda a: jax.numpy.array(a, copy=True), made.state)
            self.batch = jax.device_put(made.batch)

    def __call__(self):
        """Returns what is to be waited for; the loss, as it was before the step, last."""
        self.state, loss = self.step(self.state, self.batch)
        return self.state, loss


def compiled(made: Trainer) -> tuple[Callable, float, int]:
    """The step, its state donated; the seconds it took to compile; its temporary bytes."""
    jax.clear_caches()
    start = time.perf_counter()
    step = jax.jit(made.step, donate_argnums=0).lower(made.state, made.batch).compile()
    seconds = time.perf_counter() - start
    return step, seconds, step.memory_analysis().temp_size_in_bytes


def runners(
    model: Model, params: list[dict], libraries: Sequence[str]
) -> tuple[list[Runner], list[Cost]]:
    """A run for each library, and what each JAX peer's step costs besides time.

    Raises:
        DivergenceError: if losses differ after the same steps.
    """
    runs, costs = [], {}
    for library in libraries:
        made = trainer(library, model, params)
        if library == "pytorch":
            runs.append(Runner(made.step, made, on_jax=False))
        else:
            step, *costs[library] = compiled(made)
            runs.append(Runner(step, made, on_jax=True))
    losses = [[float(run()[1]) for _ in range(STEPS + 1)] for run in runs]
    for library, found in zip(libraries, losses, strict=True):
        if not abs(found[-1] - losses[0][-1]) <= BOUND * abs(losses[0][-1]):
            raise DivergenceError(
                f"{library}'s losses are {found}, {libraries[0]}'s {losses[0]}"
            )
    return runs, [
        Cost(f"{library} {what}", theirs, mine)
        for library, numbers in costs.items()
        if library != "funcnn"
        for what, theirs, mine in zip(
            ("compile", "temp"), numbers, costs["funcnn"], strict=True
        )
    ]


def race(
    name: str,
    model: Model,
    params: list[dict],
    peers: Sequence[str],
    seconds: float,
    rounds: int,
) -> tuple[list[Row], list[Cost]]:
    """Time a model's training step in funcnn and in peers.

    Args:
        name: the model's.
        model: what is trained.
        params: what all begin with, from `with_funcnn.initial`.
        peers: those that are installed.
        seconds: for each peer, as `timing.paired` has it.
        rounds: in each of which every library takes a step.

    Returns:
        A row a peer, and costs whose `what` is like "flax compile" (seconds) and
        "flax temp" (bytes).

    Raises:
        DivergenceError: if libraries do not compute the same.
    """
    runs, costs = runners(model, params, ["funcnn", *peers])
    table = paired(runs, seconds * len(peers), rounds, TURN, PAUSE)
    rows = []
    for i, peer in enumerate(peers, start=1):
        low, middle, high = ratio(table[:, i], table[:, 0])
        theirs, mine = float(np.median(table[:, i])), float(np.median(table[:, 0]))
        rows.append(Row(name, model.spec, "steps", peer, theirs, mine, low, middle, high))
    return rows, [cost._replace(case=name) for cost in costs]
