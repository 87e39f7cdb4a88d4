"""Where a run's data and evaluations are goes out, to be saved, and in, to go on there."""

import warnings

import numpy as np

from funcnn.train.checkpoints._items_to_save import data_state


class RunPosition:
    """A run's data and the evaluations so far, in the protocol of an iterator's state.

    Attributes:
        evaluations: pairs of a step and what was measured after it.
    """

    def __init__(self, data):
        self._data = data
        self.evaluations: list[tuple[int, dict]] = []

    def get_state(self):
        """What fits into JSON."""
        return {
            "data": data_state(self._data) if hasattr(self._data, "get_state") else None,
            "evaluations": [
                [step, {name: np.asarray(a).tolist() for name, a in metrics.items()}]
                for step, metrics in self.evaluations
            ],
        }

    def set_state(self, state):
        """Go on from there."""
        self.evaluations = [(step, metrics) for step, metrics in state["evaluations"]]
        if state["data"] is not None:
            self._data.set_state(state["data"])
        else:
            warnings.warn(
                "fit goes on from a checkpoint with data that has no get_state: it begins "
                "where the data does, not where the run stopped.",
                stacklevel=5,
            )
