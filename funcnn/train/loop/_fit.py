"""`fit`: a step, a state and batches come in, the last state and a history go out."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from funcnn.train.checkpoints._checkpoints import Checkpoints
from funcnn.train.checkpoints._run_position import RunPosition
from funcnn.train.loop._begin import begun
from funcnn.train.loop._compiled_step import CompiledStep
from funcnn.train.loop._early_stopping import EarlyStopping
from funcnn.train.loop._guard import Guard
from funcnn.train.loop._interrupt import Interrupt
from funcnn.train.loop._plan import check_measured, plan_of
from funcnn.train.loop._run import Run
from funcnn.train.mesh._layout import Layout
from funcnn.train.report._history import History
from funcnn.train.report._logs import Log
from funcnn.train.step._make_step import Step
from funcnn.train.step._train_state import TrainState, check_state


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
        TypeError: if an argument has the wrong type, or `state` is no `TrainState`.
        ValueError: if a count is out of range or does not fit another, neither `steps`
            nor `data` has an end, there is a checkpoint of another model, or a metric that
            something is decided by is not measured.
    """
    plan = plan_of(
        data, steps, log_every, steps_per_call,
        eval_every=eval_every, evaluate=evaluate, stopping=stopping,
        checkpoint_every=checkpoint_every, checkpoints=checkpoints,
    )  # fmt: skip
    check_state("fit", state)
    check_measured(evaluate, state.params, stopping, checkpoints)
    compiled = CompiledStep(step, plan.per_call, layout)
    data = iter(data)
    position = RunPosition(data)
    first = int(state.step)
    state = begun(state, compiled, checkpoints, position)
    run = Run(
        plan=plan, compiled=compiled, data=data, position=position, state=state,
        first=first, guard=Guard(step, compiled.one, state) if guard else None,
        evaluate=evaluate, stopping=stopping, checkpoints=checkpoints,
    )  # fmt: skip
    del state  # each step takes the one before it
    with run.recorded(logs, progress), Interrupt() as interrupt:
        for batches in run.calls():
            run.take_steps(batches)
            if run.has_all_steps():
                break  # what is left to do is done below
            run.settle_if_due()
            run.measure_if_due()
            run.save_if_due()
            if run.is_to_stop(interrupt.asked):
                break
        run.settle()
        run.measure_last()
        run.save_last()
    return run.outcome()
