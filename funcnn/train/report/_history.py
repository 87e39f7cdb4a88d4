"""What a run recorded, as arrays, and a picture of it."""

from typing import Any, NamedTuple

import numpy as np


class History(NamedTuple):
    """What `fit` records. Steps count the updates made, those of earlier runs included.

    `metrics[name][i]` belongs to the update that made the count `step[i]`.
    `eval_metrics[name][j]` was measured after `eval_step[j]` updates; of a run that goes on
    from a checkpoint, they are all there, those before it too.

    `stopped` tells why there were no more: "steps" (there were enough), "data" (it ended),
    "early" (it was stopped early) or "interrupted" (an `Interrupted` has it).
    """

    step: np.ndarray
    metrics: dict[str, np.ndarray]
    eval_step: np.ndarray
    eval_metrics: dict[str, np.ndarray]
    stopped: str = "steps"

    def plot(self, *names: str) -> Any:
        """Draw metrics over steps, one picture for each that is a number.

        Args:
            *names: which; none means all. An evaluation's metric goes into the picture of
                the step's that has the same name.

        Returns:
            A Matplotlib figure, for `savefig` or a notebook to show.

        Raises:
            ImportError: if Matplotlib is not installed.
            ValueError: if there is no such metric, or none at all.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError(
                "History.plot needs Matplotlib: install funcnn[train]."
            ) from error
        curves = self._curves()
        for name in names:
            if name not in curves:
                raise ValueError(
                    f"plot has {', '.join(curves) or 'nothing'}; got {name!r}."
                )
        chosen = names or tuple(curves)
        if not chosen:
            raise ValueError("plot needs a run of at least one step.")
        figure = Figure(figsize=(7, 2.6 * len(chosen)), layout="constrained")
        for axes, name in zip(
            figure.subplots(len(chosen), squeeze=False), chosen, strict=True
        ):
            for label, step, values in curves[name]:
                marker = "o" if label == "evaluated" or len(step) == 1 else ""
                axes[0].plot(step, values, marker=marker, label=label, linewidth=1)
            axes[0].set(ylabel=name, xlabel="step" if name == chosen[-1] else "")
            axes[0].grid(alpha=0.3)
            if len(curves[name]) > 1:
                axes[0].legend()
        return figure

    def _curves(self):
        """By name, the loss first, what there is to draw: labels, steps and values."""
        found: dict[str, list] = {"loss": []}
        for label, step, metrics in (
            ("in training", self.step, self.metrics),
            ("evaluated", self.eval_step, self.eval_metrics),
        ):
            for name, values in metrics.items():
                if values.ndim == 1:
                    found.setdefault(name, []).append((label, step, values))
        return {name: each for name, each in found.items() if each}
