"""The loop around a step: data in, history out."""

import operator
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from funcnn.foundation._checks import integer
from funcnn.train.checkpoints._checkpoint import Checkpoints
from funcnn.train.checkpoints._position import Position
from funcnn.train.loop._caller import Caller
from funcnn.train.loop._guard import Guard
from funcnn.train.loop._interrupt import Interrupt, Interrupted
from funcnn.train.loop._record import Record
from funcnn.train.loop._stopping import EarlyStopping
from funcnn.train.mesh._shard import Layout
from funcnn.train.report._bar import progress_bar
from funcnn.train.report._history import History
from funcnn.train.report._logs import Log
from funcnn.train.step._state import TrainState
from funcnn.train.step._step import Step

GUARDED = 5  # times `log_every`: how many steps to go back at most


def fit(
    step: Step,
    state: TrainState,
    data: Iterable,
    *,
    steps: int | None = None,
    evaluate: Callable[[Any], dict] | None = None,
    eval_every: int | None = None,
    stopping: EarlyStopping | None = None,
    checkpoints: Checkpoints | None = None,
    checkpoint_every: int | None = None,
    logs: Log | Sequence[Log] = (),
    log_every: int = 10,
    progress: bool | None = None,
    guard: bool = True,
    steps_per_call: int = 1,
    layout: Layout | None = None,
) -> tuple[TrainState, History]:
    """Take a step on each batch.

    The step is jitted, once, with its state donated: each update happens in the memory
    of the last. `state` itself is copied first and stays usable.

    Steps are dispatched without waiting for their results. Metrics are fetched
    `log_every` at a time and as many steps late, so that the host runs ahead of the
    device, but not without bound.

    With `checkpoints`, a run that was stopped or killed goes on from the latest one when
    the same program is started again, and ends with the same bits as if nothing had
    happened, if `data` knows where it is (as `batches`, `prefetch` and Grain's iterators
    do). Ctrl-C, and SIGTERM, let the step end, save, and leave by an error; a second one
    leaves at once. (With several processes they are not caught: the others would wait.)

    Args:
        step: what `make_step` returns, or any pure `step(state, batch)` like it.
        state: where to start, unless there is a later checkpoint.
        data: batches. No more are taken than there are steps.
        steps: how many to take from `state` on, those before a checkpoint counted. None
            means until `data` ends. Where `data` ends before, so does the run, with a
            warning; `history.step` tells how far it came.
        evaluate: `evaluate(params) -> dict`, such as an `evaluator`; its results are
            waited for. Params kept elsewhere must be copied: the next step takes them.
        eval_every: how many updates to make between evaluations; None means to evaluate
            after the last one only, which is always done.
        stopping: when to stop before there were `steps`, by the evaluations.
        checkpoints: where to save. It is left open.
        checkpoint_every: how many updates to make between saves. Besides, there is one
            with each evaluation, whose numbers it has, and after the last update.
        logs: what else to write metrics to, such as a `JSONLog` or a `TensorBoardLog`.
        log_every: how often to fetch metrics, write and show them.
        progress: whether to show a bar with the rate, the time left and the metrics;
            None means if tqdm is installed and stderr is a terminal.
        guard: whether to stop at the first loss, or params, that are not finite, and to
            tell which layer they come from. It keeps one more copy of the state, and up to
            `5 * log_every` batches.
        steps_per_call: how many steps to take in one call of the device, on batches that
            are stacked. Of use where a step takes less than a millisecond. It divides
            `eval_every` and `checkpoint_every`.
        layout: where state and batches go, from `shard`.

    Returns:
        The last state, and a `History` of NumPy arrays.

    Raises:
        ImportError: if `progress` is True and tqdm is not installed.
        Interrupted: a `KeyboardInterrupt` with `state` and `history`, if it was asked to
            stop.
        NonFiniteError: if `guard` and a number is not finite. Its `state` is the one
            before that step, and no checkpoint was made after it.
        OSError: if a checkpoint cannot be written; those before it stay.
        TypeError: if an argument has the wrong type.
        ValueError: if a count is out of range or does not fit another, neither `steps`
            nor `data` has an end, or there is a checkpoint of another model.
    """
    if steps is not None:
        steps = integer("fit", "steps", steps, minimum=0)
    elif getattr(data, "endless", False):
        raise ValueError("fit needs steps for batches without end; got None.")
    log_every = integer("fit", "log_every", log_every, minimum=1)
    per_call = integer("fit", "steps_per_call", steps_per_call, minimum=1)
    eval_every = period("eval_every", eval_every, evaluate, "evaluate", per_call)
    checkpoint_every = period(
        "checkpoint_every", checkpoint_every, checkpoints, "checkpoints", per_call
    )
    for what, given in (
        ("stopping", stopping),
        ("checkpoints with best", best(checkpoints)),
    ):
        if given is not None and evaluate is None:
            raise ValueError(f"fit needs evaluate for {what}; got None.")
    logs = list(logs) if isinstance(logs, Sequence) else [logs]

    calls = Caller(step, per_call, layout)
    first = int(state.step)
    data = iter(data)
    position = Position(data)
    if checkpoints is not None and (checkpoints.latest() or 0) > first:
        try:
            state = checkpoints.restore(calls.like(state), position)
        except ValueError as error:
            error.add_note(
                "fit goes on from what it finds there: a new run needs a new place."
            )
            raise
    else:
        state = calls.begin(state)
    begin = done = int(state.step)
    last = None if steps is None else max(first + steps, begin)
    left = None if last is None else last - begin
    watch = Guard(step, calls.one, state) if guard else None
    evaluations = position.evaluations
    total = operator.length_hint(data) or None if left is None else left
    stopped = "steps" if stopping is None or not stopping.reached(evaluations) else "early"

    with (
        progress_bar(progress, total) as bar,
        Record(begin, logs, bar, evaluations) as record,
        Interrupt() as interrupt,
    ):

        def checked(rows):
            if watch is not None:
                watch.check(rows)

        def settle():
            """Wait for all that was dispatched, and see that it is finite."""
            checked(record.fetch())
            if watch is not None:
                watch.renew(state)

        def measure():
            assert evaluate is not None
            record.evaluated(done, evaluate(state.params))

        def measured():
            return bool(evaluations) and evaluations[-1][0] == done

        def save():
            assert checkpoints is not None
            checkpoints.save(state, position, record.numbers() if measured() else None)

        for group in calls.groups(data, left) if stopped == "steps" else ():
            if watch is not None:
                watch.sees(group)
            state, taken = calls.several(state, group)
            for count, metrics in taken:
                record.add(count, metrics)
            done += len(group)
            if bar is not None:
                bar.update(len(group))
            if len(record) >= 2 * log_every:
                checked(record.fetch(log_every))

            if done == last:
                break  # what is left to do is done below
            made, count = done - first, len(group)
            if guard and due(GUARDED * log_every, made, count):
                settle()
            if due(eval_every, made, count):
                settle()
                measure()
            if checkpoints and (measured() or due(checkpoint_every, made, count)):
                settle()
                save()
            if stopping and measured() and stopping.reached(evaluations):
                stopped = "early"
                break
            if interrupt.asked:
                stopped = "interrupted"
                break
        settle()
        if evaluate and not measured() and stopped != "interrupted":
            measure()
        if checkpoints is not None:
            save()
            checkpoints.wait()

    if stopped == "interrupted":
        where = (
            f"It is saved in {checkpoints.directory}"
            if checkpoints
            else "This error has it"
        )
        told = Interrupted(f"fit was asked to stop, and did after step {done}. {where}.")
        told.state, told.history = state, record.history(stopped)
        raise told
    if last is None:
        stopped = "data"
    elif stopped == "steps" and done < last:
        stopped = "data"
        warnings.warn(
            f"fit took {done - first} of {steps} steps: the data ended.", stacklevel=2
        )
    return state, record.history(stopped)


def due(every, made, count):
    """Whether the last `count` of `made` steps completed so many."""
    return every is not None and made % every < count


def best(checkpoints):
    """The metric that the best checkpoint is chosen by, if any is."""
    return None if checkpoints is None else checkpoints.metric


def period(name, every, needed, what, per_call):
    """Check how often something is to be done, which needs something else.

    Raises:
        TypeError: if it is not an integer.
        ValueError: if it is less than 1, without what it needs, or no multiple of
            `per_call`.
    """
    if every is None:
        return None
    every = integer("fit", name, every, minimum=1)
    if needed is None:
        raise ValueError(f"fit needs {what} for {name}; got {every}.")
    if every % per_call:
        raise ValueError(
            f"fit needs {name} to be a multiple of steps_per_call, {per_call}; got {every}."
        )
    return every
