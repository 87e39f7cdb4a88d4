"""The number of steps comes in; a bar that shows how far a run is goes out, if any."""

import contextlib
import importlib.util
import sys

import jax


def progress_bar(progress, total):
    """A context that holds a tqdm bar, or None."""
    if progress is None:
        progress = sys.stderr is not None and sys.stderr.isatty()
        progress = progress and importlib.util.find_spec("tqdm") is not None
    if not progress or jax.process_index():
        return contextlib.nullcontext()
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise ImportError(
            "fit needs tqdm to show a bar: install funcnn[train] or pass progress=False."
        ) from error
    return tqdm(total=total, unit="it", dynamic_ncols=True)
