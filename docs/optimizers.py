"""The table of standard problems, and the plots, that the page on optimizers shows.

python docs/optimizers.py writes docs/optimizers-table.txt, for the page, and two pictures.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import schedules
from matplotlib.figure import Figure
from sklearn import datasets

from funcnn import layers, losses, optim

HERE = Path(__file__).parent
KEY = jax.random.key(0)
# The rates that each method may choose from, on each problem.
RATES = jnp.asarray(10.0 ** np.arange(-4, 1.25, 0.5), jnp.float32)


def free(rate):
    return optim.schedule_free(optim.adam(rate, b1=0.0), rate)


def clipped(optimizer):
    return optim.chain(optim.clip_by_global_norm(1.0), optimizer)


def falling(rate):
    return optim.cosine_schedule(rate, 2000)


FAMILIES = {
    "Momentum": {
        "sgd": optim.sgd,
        "momentum": lambda rate: optim.sgd(rate, 0.9),
        "Nesterov": lambda rate: optim.sgd(rate, 0.9, True),
        "lion": optim.lion,
    },
    "Running squares": {
        "rmsprop": optim.rmsprop,
        "adagrad": optim.adagrad,
        "adadelta": optim.adadelta,
        "adafactor": lambda rate: optim.adafactor(rate, least_size=8),
    },
    "Adam's": {
        "adam": optim.adam,
        "amsgrad": optim.amsgrad,
        "adamw": optim.adamw,
        "adamax": optim.adamax,
        "nadam": optim.nadam,
        "radam": optim.radam,
    },
    "By layer": {"lamb": optim.lamb, "lars": optim.lars},
    "Matrices and curvature": {
        "muon": optim.muon,
        "sophia": lambda rate: optim.sophia(rate, optim.hutchinson(KEY)),
    },
    "Wrappers": {
        "schedule_free": free,
        "lookahead": lambda rate: optim.lookahead(optim.adam(rate)),
    },
}
# What some methods lack on Rosenbrock's function, and those methods with it.
HELP = [
    ("radam", "gradients clipped to a norm of 1", lambda rate: clipped(optim.radam(rate))),
    ("lamb", "a cosine schedule", lambda rate: optim.lamb(falling(rate))),
    ("adafactor", "a cosine schedule", lambda rate: optim.adafactor(falling(rate))),
    (
        "adafactor",
        "a cosine schedule and momentum",
        lambda rate: optim.chain(optim.adafactor(falling(rate)), optim.trace(0.9)),
    ),
]


def rosenbrock(w, key):
    return (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2


def quadratic(w, key):
    return jnp.sum(jnp.logspace(-4, 0, 50, dtype=w.dtype) * w**2) / 2


def logistic():
    """Logistic regression on scikit-learn's breast cancer data, all of it in each step."""
    x, y = datasets.load_breast_cancer(return_X_y=True)
    x = jnp.asarray((x - x.mean(0)) / x.std(0), jnp.float32)

    def loss(params, key):
        logits = x @ params["weight"] + params["bias"]
        return jnp.mean(jnp.logaddexp(0, jnp.where(y == 1, -logits, logits)))

    return loss, {"weight": jnp.zeros(x.shape[1]), "bias": jnp.zeros(())}


def digits_cnn():
    """A small convolutional network on scikit-learn's digits, 64 of them in a step."""
    images, labels = datasets.load_digits(return_X_y=True)
    images = jnp.asarray(images.reshape(-1, 8, 8, 1) / 16, jnp.float32)
    labels = jnp.asarray(labels, jnp.int32)
    model = layers.Serial(
        layers.Conv(16, 3, 2), layers.Relu(), layers.Flatten(), layers.Dense(10)
    )

    def loss(params, key):
        some = jax.random.randint(key, (64,), 0, len(labels))
        logits = model.apply(params, images[some])
        return losses.softmax_cross_entropy(logits, labels[some])

    return loss, model.init(KEY, (1, 8, 8, 1))


def problems():
    """The name, loss, start and number of steps of each."""
    return {
        "Rosenbrock": (rosenbrock, jnp.asarray([-1.2, 1.0], jnp.float32), 2000),
        "quadratic": (quadratic, jnp.ones(50, jnp.float32), 1000),
        "logistic": (*logistic(), 300),
        "digits CNN": (*digits_cnn(), 300),
    }


def sweep(make, loss, start, steps):
    """The losses of runs with all rates, shape (rates, steps), in one call."""

    def train(rate):
        optimizer = make(rate)

        def body(carry, key):
            params, state = carry
            here = lambda params: loss(params, key)  # noqa: E731
            value, grads = jax.value_and_grad(here)(params)
            more = {"loss": here} if isinstance(state, optim.SophiaState) else {}
            updates, state = optimizer.update(grads, state, params, **more)
            return (optim.apply_updates(params, updates), state), value

        keys = jax.random.split(KEY, steps)
        return jax.lax.scan(body, (start, optimizer.init(start)), keys)[1]

    return np.asarray(jax.jit(jax.vmap(train))(RATES))


def end(curves):
    """The mean loss of the last steps of each run."""
    last = curves[:, -20:].mean(1)
    return np.where(np.isfinite(last), last, np.inf)


def cell(curves):
    """The loss at the end of the best run, and its rate."""
    i = end(curves).argmin()
    return f"{end(curves)[i]:.1e} ({float(RATES[i]):.0e})"


def main():
    methods = {n: make for family in FAMILIES.values() for n, make in family.items()}
    best, told, rows = {}, {}, []
    tasks = problems()
    for name, make in methods.items():
        for task, (loss, start, steps) in tasks.items():
            curves = sweep(make, loss, start, steps)
            best[name, task] = curves[end(curves).argmin()]
            told[name, task] = cell(curves)
        rows.append(f"| `{name}` | " + " | ".join(told[name, t] for t in tasks) + " |")
        print(rows[-1], file=sys.stderr, flush=True)
    lines = ["| | " + " | ".join(tasks) + " |", "|---" * (len(tasks) + 1) + "|"]
    lines += [*rows, "", "| Rosenbrock | alone | with | |", "|---|---|---|---|"]
    for name, what, make in HELP:
        more = cell(sweep(make, *tasks["Rosenbrock"]))
        lines.append(f"| `{name}` | {told[name, 'Rosenbrock']} | {what} | {more} |")
    (HERE / "optimizers-table.txt").write_text("\n".join(lines) + "\n")
    draw_families(best)
    schedules.draw()


def draw_families(best):
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    for ax, (family, makers) in zip(
        figure.subplots(2, 3).flat, FAMILIES.items(), strict=True
    ):
        for name in makers:
            ax.plot(best[name, "logistic"], label=name, linewidth=1.4)
        ax.set(title=family, yscale="log", xlabel="step", ylim=(2e-2, 1))
        ax.legend(fontsize=8, frameon=False)
    figure.suptitle(
        "Logistic regression on the breast cancer data: loss, each at its best rate"
    )
    figure.savefig(HERE / "optimizers.png", dpi=90)


if __name__ == "__main__":
    main()
