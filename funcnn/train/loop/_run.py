"""A run under way: where it is, and what `fit` does with it, one action a method."""

import operator
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from funcnn.train.checkpoints._checkpoints import Checkpoints
from funcnn.train.checkpoints._run_position import RunPosition
from funcnn.train.loop._compiled_step import CompiledStep
from funcnn.train.loop._early_stopping import EarlyStopping
from funcnn.train.loop._guard import Guard
from funcnn.train.loop._interrupt import Interrupted
from funcnn.train.loop._metrics_record import MetricsRecord
from funcnn.train.loop._plan import Plan, due
from funcnn.train.report._history import History
from funcnn.train.report._logs import Log
from funcnn.train.report._progress_bar import progress_bar
from funcnn.train.step._train_state import TrainState

GUARDED = 5  # times `log_every`: how many steps to go back at most


@dataclass(kw_only=True)
class Run:
    """A run under way.

    Attributes:
        plan: how many steps there are to be, and what is done how often.
        compiled: the step.
        data: an iterator over batches.
        position: where the data is, and the evaluations so far.
        guard: what looks for numbers that are not finite, or None.
        evaluate: as `fit` was given it, as are the next two.
        stopping: likewise.
        checkpoints: likewise.
        state: after the last step that was taken.
        first: updates that the state had that `fit` was given.
        done: updates so far.
        last: updates there are to be; None means until the data ends.
        stopped: why no more steps are taken, as `History` has it.
        record: of the metrics, once the run is `recorded`.
    """

    plan: Plan
    compiled: CompiledStep
    data: Iterator
    position: RunPosition
    guard: Guard | None
    evaluate: Callable[[Any], dict] | None
    stopping: EarlyStopping | None
    checkpoints: Checkpoints | None
    state: TrainState
    first: int
    done: int = field(init=False)
    last: int | None = field(init=False)
    stopped: str = field(init=False)
    record: MetricsRecord = field(init=False)
    _count: int = field(init=False, default=0)  # steps of the last call
    _begun: int = field(init=False)  # updates of the state that this run began with

    def __post_init__(self):
        self.done = self._begun = int(self.state.step)
        steps = self.plan.steps
        self.last = None if steps is None else max(self.first + steps, self.done)
        self.stopped = "early" if self._says_stop() else "steps"

    @contextmanager
    def recorded(self, logs: Log | Sequence[Log], progress: bool | None):
        """A context in which metrics are recorded, written to logs and shown on a bar."""
        logs = list(logs) if isinstance(logs, Sequence) else [logs]
        left = self.steps_left()
        total = operator.length_hint(self.data) or None if left is None else left
        with (
            progress_bar(progress, total) as bar,
            MetricsRecord(self.done, logs, bar, self.position.evaluations) as self.record,
        ):
            yield

    def calls(self) -> Iterator[list]:
        """Lists of batches, a call's each; none if the run had stopped early before."""
        left = self.steps_left() if self.stopped == "steps" else 0
        return self.compiled.groups(self.data, left)

    def steps_left(self) -> int | None:
        """How many steps there are to be taken; None means until the data ends."""
        return None if self.last is None else self.last - self.done

    def has_all_steps(self) -> bool:
        """Whether there are as many as there are to be."""
        return self.done == self.last

    def is_measured(self) -> bool:
        """Whether there was an evaluation after the last step."""
        evaluations = self.position.evaluations
        return bool(evaluations) and evaluations[-1][0] == self.done

    def take_steps(self, batches: list) -> None:
        """Dispatch a step on each batch, and fetch metrics once there are many to fetch."""
        if self.guard is not None:
            self.guard.sees(batches)
        self.state, taken = self.compiled.several(self.state, batches)
        self.record.add(taken)
        self._count = len(batches)
        self.done += self._count
        if len(self.record) >= 2 * self.plan.log_every:
            self._fetch(self.plan.log_every)

    def settle(self) -> None:
        """Wait for all that was dispatched, and see that it is finite."""
        self._fetch()
        if self.guard is not None:
            self.guard.renew(self.state)

    def measure(self) -> None:
        """Evaluate the params."""
        assert self.evaluate is not None
        self.record.evaluated(self.done, self.evaluate(self.state.params))

    def save(self) -> None:
        """Save state and position, and the numbers of an evaluation after the last step."""
        assert self.checkpoints is not None
        numbers = self.record.numbers() if self.is_measured() else None
        self.checkpoints.save(self.state, self.position, numbers)

    def settle_if_due(self) -> None:
        """Settle so often that the guard need not go back far."""
        if self.guard is not None and self._due(GUARDED * self.plan.log_every):
            self.settle()

    def measure_if_due(self) -> None:
        """Settle and evaluate, every `eval_every` steps."""
        if self._due(self.plan.eval_every):
            self.settle()
            self.measure()

    def save_if_due(self) -> None:
        """Settle and save, after an evaluation and every `checkpoint_every` steps."""
        if self.checkpoints is None:
            return
        if self.is_measured() or self._due(self.plan.checkpoint_every):
            self.settle()
            self.save()

    def is_to_stop(self, asked: bool) -> bool:
        """Whether to take no more steps: the last evaluation says so, or the user asked."""
        if self.is_measured() and self._says_stop():
            self.stopped = "early"
        elif asked:
            self.stopped = "interrupted"
        return self.stopped != "steps"

    def measure_last(self) -> None:
        """Evaluate, unless that was done, or the user waits for the end."""
        if self.evaluate and not self.is_measured() and self.stopped != "interrupted":
            self.measure()

    def save_last(self) -> None:
        """Save, and wait until all is written."""
        if self.checkpoints is not None:
            self.save()
            self.checkpoints.wait()

    def outcome(self) -> tuple[TrainState, History]:
        """The state and the history, with a warning if there was too little to do.

        Raises:
            Interrupted: with both, if the run was.
        """
        if self.stopped == "interrupted":
            raise self._interrupted()
        if self.plan.steps and self.done == self._begun == self.last:
            warnings.warn(
                f"fit took no step: the checkpoint has all {self.plan.steps}. Give more "
                "steps to go on, or another directory to begin anew.",
                stacklevel=3,
            )
        if self.last is None and self.stopped == "steps":
            self.stopped = "data"
        elif self.stopped == "steps" and self.last is not None and self.done < self.last:
            self.stopped = "data"
            taken = f"{self.done - self.first} of {self.plan.steps} steps"
            warnings.warn(f"fit took {taken}: the data ended.", stacklevel=3)
        return self.state, self.record.history(self.stopped)

    def _interrupted(self):
        where = "This error has it"
        if self.checkpoints is not None:
            where = f"It is saved in {self.checkpoints.directory}"
        text = f"fit was asked to stop, and did after step {self.done}. {where}."
        error = Interrupted(text)
        error.state, error.history = self.state, self.record.history(self.stopped)
        return error

    def _fetch(self, most=None):
        rows = self.record.fetch(most)
        if self.guard is not None:
            self.guard.check(rows)

    def _says_stop(self):
        evaluations = self.position.evaluations
        return self.stopping is not None and self.stopping.reached(evaluations)

    def _due(self, every):
        return due(every, self.done - self.first, self._count)
