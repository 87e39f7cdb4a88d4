"""A directory comes in, Orbax's manager of the checkpoints in it goes out."""

import logging
import math
import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def imported() -> Any:
    """The library, which is an extra.

    Raises:
        ImportError: if it is not installed.
    """
    try:
        import orbax.checkpoint as ocp
    except ImportError as error:
        raise ImportError(
            "Checkpoints needs Orbax: pip install 'funcnn[train]'."
        ) from error
    return ocp


def opened(
    directory: Path, keep: int | None, best: str | None, mode: str, cleanup: bool
) -> Any:
    """Orbax's manager of a directory that there is.

    `cleanup` removes saves that were not finished: it is for the process that saves, as
    the others would remove what that is writing.
    """
    ocp = imported()
    from orbax.checkpoint import checkpoint_managers as managers

    def rank(metrics):
        """A number that is greater the better; NaN is the worst."""
        value = metrics.get(best, math.nan)
        if math.isnan(value):
            return -math.inf
        return -value if mode == "min" else value

    kept = [managers.LatestN(keep)]
    if best is not None:
        one = managers.BestN(
            get_metric_fn=rank, n=1, keep_checkpoints_without_metrics=False
        )
        kept.append(one)
    options = ocp.CheckpointManagerOptions(
        best_fn=None if best is None else rank,
        preservation_policy=managers.AnyPreservationPolicy(kept),
        cleanup_tmp_directories=cleanup,
        # made in a thread, a directory that cannot be made leaves others waiting for it
        async_options=ocp.AsyncOptions(create_directories_asynchronously=False),
    )
    return ocp.CheckpointManager(directory, options=options)


@contextmanager
def without_warning_of_metrics():
    """No word from Orbax on each save that has none: evaluations are rarer than saves."""
    logger = logging.getLogger("absl")

    def wanted(record):
        return "tracked_metric" not in record.getMessage()

    logger.addFilter(wanted)
    try:
        yield
    finally:
        logger.removeFilter(wanted)


def short(error: Exception) -> str:
    """What went wrong, as a sentence; TensorStore's is long, and the whole is chained."""
    text = " ".join(str(error).split()) or type(error).__name__
    code = re.search(r"os_error_code='(\d+)'", text)
    if code:
        text = f"{os.strerror(int(code[1]))}: {text}"
    text = text if len(text) <= 400 else f"{text[:400]}..."
    return text if text.endswith(".") else f"{text}."
