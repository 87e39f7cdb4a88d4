"""Metrics of a run come in and go out to files: lines of JSON, events of TensorBoard."""

import json
import math
import os
import time
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np

SECONDS = 5  # between writes of TensorBoard's files


class Log(Protocol):
    """What `fit` writes to: anything with these four."""

    def start(self, step: int) -> None:
        """A run begins after `step` updates: what is there of later ones is void."""

    def write(self, step: int, metrics: dict[str, Any]) -> None:
        """Write an update's metrics, or an evaluation's, whose names begin with `eval_`."""

    def flush(self) -> None:
        """See that what was written can soon be read."""

    def close(self) -> None:
        """The run has ended, well or not: what was written is to be there."""


class JSONLog:
    """A file with a line of JSON for each update and for each evaluation.

        logs = train.JSONLog(directory + "/log.jsonl")

    The lines are like `{"step": 40, "loss": 0.52, "grad_norm": 1.3}` and
    `{"step": 40, "eval_accuracy": 0.87}`.

    A run that goes on from a checkpoint goes on in the same file: lines about later steps
    are cut off first. NaN and infinities, which JSON has not, are null. With several
    processes the first one writes.

    Args:
        path: of the file; its folder is made if need be.
    """

    def __init__(self, path: Any):
        self.path = Path(path).expanduser()

    def start(self, step):
        """Keep the lines up to `step`."""
        self._lines: list[str] = []
        if jax.process_index() == 0:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            kept = [line for line in self._present() if json.loads(line)["step"] <= step]
            self.path.write_text("".join(kept))

    def _present(self):
        """The whole lines there are; a process that was killed may have left half a one."""
        if not self.path.exists():
            return []
        lines = self.path.read_text().splitlines(keepends=True)
        return [line for line in lines if line.endswith("\n")]

    def write(self, step, metrics):
        """Keep a line for the next `flush`."""
        numbers = {
            name: plain(np.asarray(value).tolist()) for name, value in metrics.items()
        }
        self._lines.append(json.dumps({"step": step, **numbers}) + "\n")

    def flush(self):
        """Append the lines to the file."""
        if self._lines and jax.process_index() == 0:
            with self.path.open("a") as file:
                file.writelines(self._lines)
        self._lines.clear()

    def close(self):
        """Append what lines there are."""
        self.flush()


class TensorBoardLog:
    """Event files for TensorBoard, through tensorboardX, of all metrics that are numbers.

        logs = train.TensorBoardLog(directory)  # then `tensorboard --logdir` of it

    What a run wrote of steps that it is to do again, TensorBoard leaves out. With several
    processes the first one writes.

    Args:
        directory: where the files go.

    Raises:
        ImportError: if tensorboardX is not installed.
    """

    def __init__(self, directory: Any):
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "TensorBoardLog needs tensorboardX: install funcnn[train]."
            ) from error
        self.directory = Path(directory).expanduser()
        self._make, self._writer = SummaryWriter, None

    def start(self, step):
        """Begin a file that replaces what others have of later steps.

        tensorboardX calls a file by the second, and overwrites one of that name; its name
        is to be its own, and to come after those before it.
        """
        if jax.process_index() == 0:
            self._writer = self._make(
                str(self.directory),
                purge_step=step + 1,
                flush_secs=SECONDS,
                filename_suffix=f".{time.time_ns()}.{os.getpid()}",
            )

    def write(self, step, metrics):
        """Write the numbers."""
        for name, value in metrics.items():
            if self._writer is not None and not np.shape(value):
                self._writer.add_scalar(name, float(value), step)

    def flush(self):
        """Leave it to tensorboardX, whose thread writes every few seconds."""

    def close(self):
        """Wait until all is written, and end that thread."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def plain(value):
    """What JSON has for a number, or for lists of them."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
