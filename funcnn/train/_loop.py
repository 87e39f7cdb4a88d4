"""The loop around a step: data in, history out."""

import contextlib
import importlib.util
import operator
import sys
import warnings
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from funcnn._checks import integer
from funcnn.train._data import Batches
from funcnn.train._state import TrainState
from funcnn.train._step import Step


class History(NamedTuple):
    """What `fit` records. Steps count the updates made, those of earlier runs included.

    `metrics[name][i]` belongs to the update that made the count `step[i]`.
    `eval_metrics[name][j]` was measured after `eval_step[j]` updates.
    """

    step: np.ndarray
    metrics: dict[str, np.ndarray]
    eval_step: np.ndarray
    eval_metrics: dict[str, np.ndarray]


def fit(
    step: Step,
    state: TrainState,
    data: Iterable,
    *,
    steps: int | None = None,
    evaluate: Callable[[Any], dict] | None = None,
    eval_every: int | None = None,
    log_every: int = 10,
    progress: bool | None = None,
) -> tuple[TrainState, History]:
    """Take a step on each batch.

    The step is jitted, once, with its state donated: each update happens in the memory
    of the last. `state` itself is copied first and stays usable.

    Steps are dispatched without waiting for their results. Metrics are fetched
    `log_every` at a time and as many steps late, so that the host runs ahead of the
    device, but not without bound.

    Args:
        step: what `make_step` returns, or any pure `step(state, batch)` like it.
        state: where to start; a run that was stopped goes on from its last state.
        data: batches. No more are taken than there are steps.
        steps: how many to take. None means until `data` ends. Where `data` ends before,
            so does the run, with a warning; `history.step` tells how far it came.
        evaluate: `evaluate(params) -> dict`, such as an `evaluator`; its results are
            waited for. Params kept elsewhere must be copied: the next step takes them.
        eval_every: how many updates to make between evaluations; None means to evaluate
            after the last one only, which is always done.
        log_every: how often to fetch metrics and show them.
        progress: whether to show a bar with the rate, the time left and the metrics;
            None means if tqdm is installed and stderr is a terminal.

    Returns:
        The last state, and a `History` of NumPy arrays.

    Raises:
        ImportError: if `progress` is True and tqdm is not installed.
        TypeError: if a count is not an integer.
        ValueError: if a count is out of range, or neither `steps` nor `data` has an end.
    """
    if steps is not None:
        steps = integer("fit", "steps", steps, minimum=0)
    elif isinstance(data, Batches) and data.endless:
        raise ValueError("fit needs steps for batches without end; got None.")
    if eval_every is not None:
        eval_every = integer("fit", "eval_every", eval_every, minimum=1)
        if evaluate is None:
            raise ValueError(f"fit needs evaluate for eval_every; got {eval_every}.")
    log_every = integer("fit", "log_every", log_every, minimum=1)

    compiled = jax.jit(step, donate_argnums=0)
    state = jax.tree.map(jnp.copy, state)
    first, done = int(state.step), 0
    latest: list[dict] = []  # metrics that may still be computed
    rows: list[dict] = []  # those before, fetched
    evaluations: list[tuple[int, dict]] = []

    total = operator.length_hint(data) or None if steps is None else steps
    with progress_bar(progress, total) as bar:

        def record(count):
            rows.extend(jax.device_get(latest[:count]))
            del latest[:count]
            if bar is not None:
                bar.set_postfix(shown(rows, evaluations), refresh=False)

        for batch in islice(data, steps):
            state, metrics = compiled(state, batch)
            done += 1
            latest.append(metrics)
            if evaluate and eval_every and done % eval_every == 0:
                evaluations.append((done, jax.device_get(evaluate(state.params))))
            if len(latest) == 2 * log_every:
                record(log_every)
            if bar is not None:
                bar.update()
        if evaluate and done not in [step for step, _ in evaluations[-1:]]:
            evaluations.append((done, jax.device_get(evaluate(state.params))))
        record(len(latest))

    if steps is not None and done < steps:
        warnings.warn(f"fit took {done} of {steps} steps: the data ended.", stacklevel=2)
    return state, History(
        first + np.arange(1, done + 1),
        stacked(rows),
        first + np.array([step for step, _ in evaluations], int),
        stacked([values for _, values in evaluations]),
    )


def stacked(rows):
    """One array per name from one dict per step."""
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]} if rows else {}


def shown(rows, evaluations):
    """The latest metrics as the bar shows them."""
    latest = {} if not rows else dict(rows[-1])
    if evaluations:
        latest |= {f"eval_{name}": a for name, a in evaluations[-1][1].items()}
    latest.pop("grad_norm", None)
    return {name: f"{a:.3g}" for name, a in latest.items() if not np.shape(a)}


def progress_bar(progress, total):
    """A context that holds a tqdm bar, or None."""
    if progress is None:
        progress = sys.stderr is not None and sys.stderr.isatty()
        progress = progress and importlib.util.find_spec("tqdm") is not None
    if not progress:
        return contextlib.nullcontext()
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise ImportError(
            "fit needs tqdm to show a bar: install funcnn[train] or pass progress=False."
        ) from error
    return tqdm(total=total, unit="it", dynamic_ncols=True)
