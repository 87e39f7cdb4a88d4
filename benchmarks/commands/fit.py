"""Time `train.fit` against a loop by hand, and several steps a call against one."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import paired, ratio
from funcnn import layers, losses, optim, train

STEPS = 200


def add_arguments(parser):
    """Add this command's options."""
    add = parser.add_argument
    add(
        "--milliseconds",
        type=float,
        default=5.0,
        help="a step of about so many (default 5)",
    )
    add("--rounds", type=int, default=7, help="how many (default 7)")


def run(options) -> int:
    """Print both comparisons."""
    print(f"Medians of {options.rounds} paired rounds of {STEPS} steps each.\n")
    batch = sized(options.milliseconds)
    model, state, data = setting(512, batch)
    step = train.make_step(loss(model), optim.adam(1e-3))
    show(
        "a loop by hand",
        "fit",
        options,
        by_hand(step, state, data),
        run_fit(step, state, data),
    )
    model, state, data = setting(8, 8)
    step = train.make_step(loss(model), optim.adam(1e-3))
    show(
        "one step a call", "20 steps a call", options,
        by_hand(step, state, data),
        by_hand(train.scan_steps(step), state, grouped(data, 20)),
    )  # fmt: skip
    return 0


def setting(width, batch):
    """A perceptron, its state and batches."""
    model = layers.Serial(
        layers.Dense(width),
        layers.Relu(),
        layers.Dense(width),
        layers.Relu(),
        layers.Dense(10),
    )
    state = train.init(jax.random.key(0), model, optim.adam(1e-3), (batch, 64))
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, 64), dtype=np.float32)
    return model, state, [(x, rng.integers(0, 10, batch))] * STEPS


def loss(model):
    """Mean cross entropy."""
    return lambda params, batch, key: losses.softmax_cross_entropy(
        model.apply(params, batch[0]), batch[1]
    )


def sized(milliseconds):
    """The batch with which a step takes about so long."""
    batch = 64
    while True:
        model, state, data = setting(512, batch)
        program = by_hand(train.make_step(loss(model), optim.adam(1e-3)), state, data[:20])
        took = np.median(paired([program], 0.0)) / 20 * 1e3
        if took > 0.8 * milliseconds:
            return batch
        batch = 2 * batch if took < 0.4 * milliseconds else batch + batch // 2


def by_hand(step, state, data):
    """The ten lines that a user would write."""
    compiled = jax.jit(step, donate_argnums=0)

    def program():
        now = jax.tree.map(jnp.copy, state)
        for batch in data:
            now, metrics = compiled(now, batch)
        return now, metrics

    return program


def run_fit(step, state, data):
    """The same by `fit`, as it is by default but for the bar."""
    return lambda: train.fit(step, state, data, progress=False)[0]


def grouped(data, count):
    """Stacked batches, a call's each."""
    return [
        jax.tree.map(lambda *a: np.stack(a), *data[i : i + count])
        for i in range(0, len(data), count)
    ]


def show(rival, mine, options, *programs):
    """Print how long both take a step, and their ratio."""
    table = paired(programs, 0.0, options.rounds)
    low, middle, high = ratio(table[:, 0], table[:, 1])
    times = np.median(table, 0) / STEPS * 1e3
    print(f"{rival:20} {times[0]:8.3f} ms a step")
    print(f"{mine:20} {times[1]:8.3f} ms a step")
    print(f"{'ratio':20} {middle:8.3f}    quartiles {low:.3f} to {high:.3f}\n")
