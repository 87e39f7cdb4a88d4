"""Evaluations come in; whether they no longer improve goes out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from funcnn.foundation._checks import integer, number


@dataclass(frozen=True)
class EarlyStopping:
    """Stop when a metric has not improved for a while (Prechelt 1998, "Early stopping").

        train.EarlyStopping("accuracy", patience=5, mode="max")

    Args:
        metric: the name of one of the evaluation's numbers.
        patience: after how many evaluations without improvement to stop, at least 1.
        mode: whether less is better, `"min"`, or more, `"max"`.
        least: by how much a value has to be better to count, at least 0. A NaN never is.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if one is out of range.
    """

    metric: str = "loss"
    patience: int = 3
    mode: str = "min"
    least: float = 0.0

    def __post_init__(self):
        if not isinstance(self.metric, str):
            raise TypeError(f"EarlyStopping needs a metric's name; got {self.metric!r}.")
        integer("EarlyStopping", "patience", self.patience, minimum=1)
        if self.mode not in ("min", "max"):
            raise ValueError(f"EarlyStopping needs mode 'min' or 'max'; got {self.mode!r}.")
        number("EarlyStopping", "least", self.least, low=0.0)

    def reached(self, evaluations: Sequence[tuple[int, dict]]) -> bool:
        """Whether the last `patience` evaluations were no better than the best before.

        Args:
            evaluations: steps and what was measured after them, all of the run's.

        Raises:
            ValueError: if one has no such metric.
        """
        best, waited = math.inf, 0
        for step, metrics in evaluations:
            if self.metric not in metrics:
                raise ValueError(
                    f"EarlyStopping needs evaluations with {self.metric!r}; got "
                    f"{', '.join(metrics)} after step {step}."
                )
            value = float(metrics[self.metric]) * (1 if self.mode == "min" else -1)
            better = value < best - self.least
            best, waited = (value, 0) if better else (best, waited + 1)
        return waited >= self.patience
