"""Time updates of optimizers, and their compilation, against those of optax."""

import argparse
import sys
import time
from importlib.util import find_spec
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.ops.cases import DisagreementError, agree
from benchmarks.ops.choice import known
from benchmarks.results import Cost, Row, Run, here, write
from benchmarks.tables import case_lines, cost_cells, header, lines
from benchmarks.timing import paired, ratio
from funcnn import optim

METHODS = {
    "adamw": ("adamw", {}),
    "momentum": ("sgd", {"momentum": 0.9}),
    "adam": ("adam", {}),
    "lion": ("lion", {}),
    "rmsprop": ("rmsprop", {}),
}
LEGEND = """\
Times are medians, in milliseconds, of an update in float32 that is applied, its
params and state donated. The ratio is how many times as long optax takes as
funcnn; above 1 funcnn is faster. It is the median over paired rounds, the
spread the distance of their quartiles. Compile times are to trace and compile
it, with nothing cached."""
EPILOG = f"""\
methods: {", ".join(METHODS)}

Exits with 0, or 1 if params differ, or 2 if the request is wrong."""


class Model(NamedTuple):
    """Params of `leaves` vectors of `size` elements."""

    leaves: int
    size: int

    def params(self):
        """Numbers that differ, the same every time."""
        one = np.random.default_rng(0).standard_normal(self.size, np.float32)
        return {f"{i:04}": jnp.asarray(one) for i in range(self.leaves)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--method", action="append", default=[], metavar="NAME", help="default: all")
    add("--parameters", type=int, default=10_000_000, help="default: 10 million")
    add("--small", type=int, default=2000, help="leaves to compile (default 2000)")
    add("--seconds", type=float, default=3.0, help="for each comparison (default 3)")
    add("--rounds", type=int, default=7, help="at least so many (default 7)")
    add("--json", metavar="FILE", help="write the rows to a file, too")


def run(options: argparse.Namespace) -> int:
    """Do what is asked for, and return the exit status.

    Raises:
        ValueError: saying what makes no sense.
    """
    known("method", options.method, METHODS)
    if options.seconds < 0 or options.rounds < 1:
        raise ValueError("--seconds is at least 0, --rounds at least 1")
    if options.parameters < 100 or options.small < 0:
        raise ValueError("--parameters is at least 100, --small at least 0")
    if not find_spec("optax"):
        raise ValueError("not installed: optax")
    rows, costs, wrong = [], [], []
    models = [Model(n, options.parameters // n) for n in (100, 1)]
    print(header(("leaves", "optax ms", "ratio", "spread"), "update of"), flush=True)
    for name in dict.fromkeys(options.method or METHODS):
        found = []
        for model in models:
            try:
                found.append(timed(name, model, options.seconds, options.rounds))
            except DisagreementError as error:
                wrong.append(f"{name}, {model.leaves} leaves: {error}")
        if found:
            print(case_lines(found), flush=True)
        rows += found
    if options.small:
        print("\n" + header(("", "optax", "funcnn", "ratio"), "compilation of"))
    for name in dict.fromkeys(options.method or METHODS) if options.small else ():
        cost = compile_time(name, Model(options.small, 8))
        print(lines(name, f"{options.small} leaves", [cost_cells(cost)]), flush=True)
        costs.append(cost)
    print(f"\n{LEGEND}")
    if options.json:
        write(options.json, Run(tuple(rows), here(["optax"]), tuple(costs)))
    for message in wrong:
        print(f"wrong: {message}", file=sys.stderr)
    return 1 if wrong else 0


def updates(name):
    """An update that is applied, and `init`, of optax's method and of funcnn's."""
    import optax

    method, arguments = METHODS[name]
    for library in (optax, optim):
        optimizer = getattr(library, method)(1e-3, **arguments)

        def step(params, state, grads, optimizer=optimizer, library=library):
            deltas, state = optimizer.update(grads, state, params)
            return library.apply_updates(params, deltas), state

        yield jax.jit(step, donate_argnums=(0, 1)), optimizer.init


class Trainer:
    """Updates the same params again and again, each call once."""

    def __init__(self, step, init, model):
        self.step = step
        self.params, self.grads = model.params(), model.params()
        self.state = init(self.params)

    def __call__(self):
        """Update once, and return the params."""
        self.params, self.state = self.step(self.params, self.state, self.grads)
        return self.params


def timed(name: str, model: Model, seconds: float, rounds: int) -> Row:
    """Check that both do the same to the params, then time them in turns.

    Raises:
        DisagreementError: if they do not.
    """
    both = [Trainer(step, init, model) for step, init in updates(name)]
    start = jax.device_get(model.params())
    moves = [jax.tree.map(np.subtract, jax.device_get(t()), start) for t in both]
    agree(*reversed(moves))
    table = paired(both, seconds, rounds)
    optax_takes, we_take = map(float, np.median(table, 0))
    middle = ratio(table[:, 0], table[:, 1])
    return Row(name, "", "optim", f"{model.leaves}", optax_takes, we_take, *middle)


def compile_time(name: str, model: Model, rounds: int = 3) -> Cost:
    """Median seconds to trace and compile an update, in turns."""
    took = []
    for turn in range(rounds):
        both = [0.0, 0.0]
        programs = list(updates(name))
        for i in (0, 1) if turn % 2 else (1, 0):
            step, init = programs[i]
            params = model.params()
            state = init(params)
            jax.clear_caches()
            start = time.perf_counter()
            step.lower(params, state, params).compile()
            both[i] = time.perf_counter() - start
        took.append(both)
    theirs, mine = map(float, np.median(took, 0))
    return Cost("compile", theirs, mine, name)
