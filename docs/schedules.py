"""The picture of schedules that the page on optimizers shows; see optimizers.py."""

from pathlib import Path

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure

from funcnn import optim

HERE = Path(__file__).parent
SCHEDULES = {
    "constant": optim.constant_schedule(1.0),
    "linear": optim.linear_schedule(1.0, 0.1, 80, 10),
    "polynomial": optim.polynomial_schedule(1.0, 0.1, 2.0, 80, 10),
    "exponential": optim.exponential_schedule(1.0, 0.5, 20),
    "cosine": optim.cosine_schedule(1.0, 100),
    "warmup_cosine": optim.warmup_cosine_schedule(1.0, 20, 100),
    "one_cycle": optim.one_cycle_schedule(1.0, 100),
    "cyclic": optim.cyclic_schedule(0.1, 1.0, 25, decay=0.7),
    "piecewise": optim.piecewise_schedule(1.0, {30: 0.5, 70: 0.2}),
    "inverse_sqrt": optim.inverse_sqrt_schedule(1.0, 10),
    "warmup_stable_decay": optim.warmup_stable_decay_schedule(1.0, 15, 50, 35),
    "join": optim.join_schedules(
        [optim.cosine_schedule(1.0, 50), optim.cosine_schedule(0.5, 50)], [50]
    ),
}


def draw():
    """Write docs/schedules.png."""
    figure, steps = Figure(figsize=(11, 5), layout="constrained"), jnp.arange(110)
    for ax, (name, schedule) in zip(
        figure.subplots(3, 4, sharex=True, sharey=True).flat, SCHEDULES.items(), strict=True
    ):
        ax.plot(steps, jax.vmap(schedule)(steps), linewidth=1.4)
        ax.set_title(name, fontsize=9)
    figure.savefig(HERE / "schedules.png", dpi=90)
