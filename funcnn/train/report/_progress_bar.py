"""The number of steps comes in; a bar that shows how far a run is goes out, if any."""

import contextlib
import importlib.util
import sys

import jax

SPARE = 12  # columns, for times and rates that become longer, and for some of the bar


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


def fitting(bar, numbers):
    """Of numbers in words, by name, the first, and those after it that a bar has room for.

    What does not fit would be cut off, in the middle of a number.
    """
    told = bar.format_dict
    if not told["ncols"]:
        return numbers
    room = (
        told["ncols"] - SPARE - len(bar.format_meter(**told | {"ncols": 0, "postfix": ""}))
    )
    kept: dict[str, str] = {}
    for name, text in numbers.items():
        wide = len(f", {name}={text}")
        if wide <= room or not kept:
            kept[name] = text
            room -= wide
    return kept
