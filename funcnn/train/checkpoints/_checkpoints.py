"""States of a run go out to a directory, through Orbax, and come in again: whole or not."""

from functools import partial
from pathlib import Path
from typing import Any

from funcnn.foundation._checks import integer
from funcnn.train.checkpoints import _items_to_save, _restored_state
from funcnn.train.checkpoints._orbax_manager import (
    imported,
    opened,
    short,
    without_warning_of_metrics,
)
from funcnn.train.step._train_state import TrainState, check_state


class Checkpoints:
    """The checkpoints of one run, in a directory.

        checkpoints = train.Checkpoints(directory, keep=3)
        data = train.batches((images, labels), 128, key=key)
        if checkpoints.latest() is not None:
            state = checkpoints.restore(state, data)
        checkpoints.save(state, data)
        checkpoints.close()

    A checkpoint holds the whole `TrainState`, its key included, and where the data was:
    a run that goes on from one ends with the same bits as one that never stopped. Each
    is written beside its place and moved there when it is whole, so a process can be
    killed at any moment: what can be restored is always whole. (Sudden loss of power is
    for the file system to survive.)

    Saves are asynchronous. `save` copies the state to host memory and returns; the state
    may be donated right after. A thread writes the copy. When that fails, the next call
    of `save`, `wait`, `restore` or `close` raises the error; checkpoints before it stay.

    Args:
        directory: where to keep them, on a file system that all processes of the run
            share. It is made if need be.
        keep: how many of the last to keep; None means all.
        best: the name of a metric. The checkpoint with its best value is kept, too.
        mode: whether the best value is the least, `"min"`, or the greatest, `"max"`.

    Attributes:
        directory: as a `Path`.
        metric: what `best` was.

    Raises:
        ImportError: if Orbax is not installed.
        OSError: if the directory cannot be made.
        TypeError: if `keep` is not an integer.
        ValueError: if `keep` is less than 1, or `mode` neither of the two.
    """

    def __init__(
        self,
        directory: Any,
        *,
        keep: int | None = 3,
        best: str | None = None,
        mode: str = "min",
    ):
        if keep is not None:
            keep = integer("Checkpoints", "keep", keep, minimum=1)
        if mode not in ("min", "max"):
            raise ValueError(f"Checkpoints needs mode 'min' or 'max'; got {mode!r}.")
        self._ocp = imported()
        self.metric = best
        self._saving: int | None = None  # the last step to be saved
        self._clean = False  # whether what failed saves left is gone
        self.directory = Path(directory).expanduser().absolute()
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(f"Checkpoints cannot make {self.directory}: {error}.") from error
        self._opened = partial(opened, self.directory, keep, best, mode)
        self._manager = self._opened(cleanup=False)

    def save(
        self, state: TrainState, data: Any = None, metrics: dict[str, Any] | None = None
    ) -> None:
        """Save a state, as the checkpoint of `state.step`.

        A step that is the latest there already is not written again.

        Args:
            state: a `TrainState` of arrays, keys included.
            data: an iterator with `get_state()`, such as `Batches`, Grain's or `prefetch`
                of either; its state must fit into JSON. In a run of several processes,
                that of the first is kept, as all of them go on in step.
            metrics: numbers by name. A checkpoint without any is never the best.

        Raises:
            OSError: if this save, or the one before, cannot be written. Checkpoints
                that were there are left alone.
            TypeError: if the state is no `TrainState`, or the data's state or the metrics
                are of other types.
            ValueError: if there are checkpoints of later steps, or metrics without that
                of `best`.
        """
        check_state("Checkpoints.save", state)
        leaves = _items_to_save.arrays(state)
        numbers = None
        if metrics is not None:
            numbers = _items_to_save.numbers(metrics, self.metric)
        where = None if data is None else _items_to_save.data_state(data)
        self.wait()
        step, latest = int(state.step), self.latest()
        if latest is not None and step <= latest:
            if step == latest:
                return
            raise ValueError(
                f"Checkpoints.save needs a step after {latest}, the latest in "
                f"{self.directory}; got {step}. To go back, remove later ones."
            )
        items = _items_to_save.items(self._ocp, leaves, where)
        self._saving = step
        try:
            if not self._clean:
                self._manager.close()
                self._manager, self._clean = self._opened(cleanup=True), True
            with without_warning_of_metrics():
                self._manager.save(step, args=items, metrics=numbers, force=True)
        except Exception as error:
            raise self._not_saved(error) from error

    def _not_saved(self, error):
        self._clean = False
        self._manager.reload()
        latest = self.latest()
        left = "There is none before it" if latest is None else f"Step {latest} is whole"
        return OSError(
            f"Checkpoints could not save step {self._saving} in {self.directory}: "
            f"{short(error)} {left}."
        )

    def wait(self) -> None:
        """Wait until the last save is whole.

        Raises:
            OSError: if it could not be written.
        """
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise self._not_saved(error) from error

    def restore(self, like: Any, data: Any = None, step: int | None = None) -> Any:
        """Read a state.

        Args:
            like: a state like the one that was saved, of arrays or of
                `jax.ShapeDtypeStruct`s, such as `jax.eval_shape` gives. Each leaf goes
                where `like` has it, on a mesh or a number of devices that may be others
                than those it was saved from. Where that says nothing, it goes to JAX's
                default device.
            data: an iterator with `set_state`, which is called with what was saved.
            step: which checkpoint; None means the latest.

        Returns:
            The state, of arrays of its own.

        Raises:
            FileNotFoundError: if there is no checkpoint, or none of `step`.
            OSError: if the checkpoint is damaged. No older one is taken in its place
                unasked; the message tells which is whole.
            ValueError: if the checkpoint is of another model or optimizer, naming the
                leaf, or was saved without data where `data` is given.
        """
        self.wait()
        steps = self._steps()
        if not steps:
            raise FileNotFoundError(f"Checkpoints finds none in {self.directory}.")
        step = steps[-1] if step is None else step
        if step not in steps:
            raise FileNotFoundError(
                f"Checkpoints finds no step {step} in {self.directory}; got {steps}."
            )
        source = f"step {step} in {self.directory}"
        try:
            about = _restored_state.read_about(self._ocp, self._manager, step)
        except Exception as error:
            raise self._damaged(step, like, error) from error
        _restored_state.check(source, about, like)
        if data is not None and about["data"] is None:
            raise ValueError(f"Checkpoints.restore needs data in {source}; got none.")
        try:
            state = _restored_state.read_state(self._ocp, self._manager, step, about, like)
        except Exception as error:
            raise self._damaged(step, like, error) from error
        if data is not None:
            data.set_state(about["data"])
        return state

    def _damaged(self, step, like, error):
        """The error to raise; it costs reading older steps until one is whole."""
        advice = "None before it is whole."
        for earlier in reversed([s for s in self._steps() if s < step]):
            if _restored_state.is_whole(self._ocp, self._manager, earlier, like):
                place = self.directory / str(step)
                advice = f"Step {earlier} is whole: remove {place} to go on from there."
                break
        return OSError(
            f"Checkpoints cannot read step {step} in {self.directory}: "
            f"{short(error)} {advice}"
        )

    def latest(self) -> int | None:
        """The last step of which there is a whole checkpoint; None if there is none."""
        return max(self._steps(), default=None)

    def best(self) -> int | None:
        """The step of the checkpoint whose metric is the best; None if none has any."""
        self.wait()
        return None if self.metric is None else self._manager.best_step()

    def _steps(self):
        """Those that are whole, as the directory has them now."""
        names = self._ocp.path.step.standard_name_format()
        return sorted(found.step for found in names.find_all(self.directory))

    def close(self) -> None:
        """Wait for the last save, and end all threads.

        Raises:
            OSError: if the last save could not be written.
        """
        try:
            self.wait()
        finally:
            self._manager.close()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_):
        self.close()
