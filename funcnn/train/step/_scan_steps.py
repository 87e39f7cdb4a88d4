"""A step comes in; a function that takes several in one call goes out."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import keystr, tree_leaves_with_path

from funcnn.train.step._make_step import Step
from funcnn.train.step._train_state import TrainState


def scan_steps(step: Step) -> Callable[[TrainState, Any], tuple[TrainState, dict]]:
    """Return a function that takes a step on each of several batches, in a loop on device.

    For models so small that calling a step takes longer than computing it.

        steps = jax.jit(train.scan_steps(train.make_step(loss, optimizer)))
        batches = (jnp.stack([images] * 10), jnp.stack([labels] * 10))
        state, metrics = steps(state, batches)
        metrics["loss"].shape  # (10,)

    Args:
        step: what `make_step` returns, or any pure `step(state, batch)` like it whose
            state keeps its shapes and dtypes.

    Returns:
        A pure `steps(state, batches) -> (state, metrics)`. Arrays of `batches` and of
        `metrics` have a new first axis, one row for each step.

    Raises:
        ValueError: in `steps`, if there are no batches, or the first axes differ.
    """

    def steps(state, batches):
        check(batches)
        return jax.lax.scan(step, state, batches)

    return steps


def check(batches):
    """Check that all arrays have as many rows."""
    leaves = [(keystr(path), jnp.shape(a)) for path, a in tree_leaves_with_path(batches)]
    if not leaves:
        raise ValueError(f"scan_steps needs arrays of batches; got {batches}.")
    for path, shape in leaves:
        if not shape or shape[0] != leaves[0][1][0]:
            raise ValueError(
                "scan_steps needs arrays with a first axis of as many steps each; got "
                f"shape {leaves[0][1]} at {leaves[0][0] or 'the root'} and {shape} at "
                f"{path or 'the root'}."
            )
