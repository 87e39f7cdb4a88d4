"""Where a run begins: a state comes in, its copy or a later checkpoint goes out."""

from funcnn.train.checkpoints._checkpoints import Checkpoints
from funcnn.train.checkpoints._run_position import RunPosition
from funcnn.train.loop._compiled_step import CompiledStep
from funcnn.train.step._train_state import TrainState


def begun(
    state: TrainState,
    compiled: CompiledStep,
    checkpoints: Checkpoints | None,
    position: RunPosition,
) -> TrainState:
    """Return a copy of `state`, or the latest checkpoint if that is of a later step.

    Args:
        state: what `fit` was given.
        compiled: knows where a state belongs.
        checkpoints: of the run, or None.
        position: moved to where data and evaluations were, if there is a checkpoint.

    Returns:
        A state of arrays of its own, where they belong, to be donated.

    Raises:
        ValueError: if the checkpoint is of another model.
    """
    if checkpoints is None or (checkpoints.latest() or 0) <= int(state.step):
        return compiled.begin(state)
    try:
        return checkpoints.restore(compiled.like(state), position)
    except ValueError as error:
        error.add_note("fit goes on from what it finds there: a new run needs a new place.")
        raise
