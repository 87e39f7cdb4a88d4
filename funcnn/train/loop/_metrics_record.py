"""Metrics on the device come in; they go out to a history, to logs and to a bar."""

from contextlib import ExitStack

import jax
import numpy as np

from funcnn.train.report._history import History
from funcnn.train.report._progress_bar import fitting


class MetricsRecord:
    """Metrics that may still be computed, those fetched, and evaluations.

    As a context, it starts the logs, and closes them: whichever way a run ends, what was
    measured is fetched and written.

    Args:
        first: the updates made before the run.
        logs: what else to write to.
        bar: of tqdm, or None.
        evaluations: pairs of a step and what was measured after it, to be added to.
    """

    def __init__(self, first, logs, bar, evaluations):
        self._first, self._logs, self._bar = first, logs, bar
        self._evaluations = evaluations
        self._latest: list[tuple[int, dict]] = []  # calls whose metrics may be computed yet
        self._rows: list[dict] = []  # metrics of updates, on the host

    def __enter__(self):
        with ExitStack() as started:
            for log in self._logs:
                log.start(self._first)
                started.callback(log.close)
            started.pop_all()
        return self

    def __exit__(self, kind, error, traceback):
        try:
            with ExitStack() as ends:  # all of them, also if one fails
                for log in self._logs:
                    ends.callback(log.close)
                if self._latest:
                    self.fetch()
        except Exception as another:
            if error is None:
                raise
            error.add_note(f"The last metrics of the run could not be written: {another}")

    def __len__(self):
        """How many updates have metrics that were not fetched yet."""
        return sum(count for count, _ in self._latest)

    def add(self, calls):
        """Note calls that were dispatched: how many updates each makes, and its metrics."""
        self._latest += calls
        if self._bar is not None:
            self._bar.update(sum(count for count, _ in calls))

    def fetch(self, most=None):
        """Fetch metrics of the earliest updates, `most` or all; return them."""
        calls: list[tuple[int, dict]] = []
        while self._latest and (most is None or sum(n for n, _ in calls) < most):
            calls.append(self._latest.pop(0))
        rows = []
        for count, metrics in jax.device_get(calls):
            rows += (
                [metrics]
                if count == 1
                else [jax.tree.map(lambda a, i=i: a[i], metrics) for i in range(count)]
            )
        begin = self._first + len(self._rows) + 1
        self._rows += rows
        self._write([(begin + i, row) for i, row in enumerate(rows)])
        return rows

    def evaluated(self, step, metrics):
        """Note an evaluation, fetched."""
        metrics = jax.device_get(metrics)
        self._evaluations.append((step, metrics))
        self._write([(step, {f"eval_{name}": a for name, a in metrics.items()})])

    def _write(self, rows):
        """Write pairs of a step and metrics to each log, also if another one fails."""
        self.show()
        with ExitStack() as writes:
            for log in reversed(self._logs):
                writes.callback(written, log, rows)

    def numbers(self):
        """What the latest evaluation measured that is a number."""
        _, metrics = self._evaluations[-1]
        return {name: a for name, a in metrics.items() if not np.shape(a)}

    def show(self):
        """Show the latest numbers on the bar."""
        if self._bar is None:
            return
        rest = dict(self._rows[-1]) if self._rows else {}
        rest.pop("grad_norm", None)
        latest = {"loss": rest.pop("loss")} if "loss" in rest else {}
        if self._evaluations:
            latest |= {f"eval_{name}": a for name, a in self._evaluations[-1][1].items()}
        numbers = {
            name: f"{a:.3g}" for name, a in (latest | rest).items() if not np.shape(a)
        }
        self._bar.set_postfix(fitting(self._bar, numbers), refresh=False)

    def history(self, stopped):
        """All of it."""
        steps = [step for step, _ in self._evaluations]
        return History(
            self._first + np.arange(1, len(self._rows) + 1),
            stacked(self._rows),
            np.array(steps, int),
            stacked([values for _, values in self._evaluations]),
            stopped,
        )


def written(log, rows):
    """Write rows to one log."""
    for step, row in rows:
        log.write(step, row)
    log.flush()


def stacked(rows):
    """One array per name from one dict per step."""
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]} if rows else {}
