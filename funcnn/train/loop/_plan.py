"""Counts that `fit` was given come in; they go out checked, as a `Plan`."""

from collections.abc import Callable
from typing import Any, NamedTuple

from funcnn.foundation._checks import integer
from funcnn.train.checkpoints._checkpoints import Checkpoints
from funcnn.train.loop._early_stopping import EarlyStopping


class Plan(NamedTuple):
    """How many steps to take, how many a call, and how often to do what else there is.

    None, of `steps`, means until the data ends; of the others, never before the end.
    """

    steps: int | None
    per_call: int
    log_every: int
    eval_every: int | None
    checkpoint_every: int | None


def plan_of(
    data: Any,
    steps: int | None,
    log_every: int,
    steps_per_call: int,
    *,
    eval_every: int | None,
    evaluate: Callable | None,
    stopping: EarlyStopping | None,
    checkpoint_every: int | None,
    checkpoints: Checkpoints | None,
) -> Plan:
    """Check what `fit` was given, as which all arguments are.

    Raises:
        TypeError: if a count is not an integer.
        ValueError: if one is out of range or does not fit another, there is no end, or
            something is to be done without what that needs.
    """
    if steps is not None:
        steps = integer("fit", "steps", steps, minimum=0)
    elif getattr(data, "endless", False):
        raise ValueError("fit needs steps for batches without end; got None.")
    log_every = integer("fit", "log_every", log_every, minimum=1)
    per_call = integer("fit", "steps_per_call", steps_per_call, minimum=1)
    eval_every = period("eval_every", eval_every, "evaluate", evaluate, per_call)
    checkpoint_every = period(
        "checkpoint_every", checkpoint_every, "checkpoints", checkpoints, per_call
    )
    check_evaluated(evaluate, eval_every, stopping, checkpoints)
    return Plan(steps, per_call, log_every, eval_every, checkpoint_every)


def period(
    name: str, every: int | None, what: str, needed: Any, per_call: int
) -> int | None:
    """Check how often something is to be done, which needs something else.

    Raises:
        TypeError: if it is not an integer.
        ValueError: if it is less than 1, without what it needs, or no multiple of
            `per_call`.
    """
    if every is None:
        return None
    every = integer("fit", name, every, minimum=1)
    if needed is None:
        raise ValueError(f"fit needs {what} for {name}; got {every}.")
    if every % per_call:
        raise ValueError(
            f"fit needs {name} to be a multiple of steps_per_call, {per_call}; got {every}."
        )
    return every


def check_evaluated(
    evaluate: Callable | None,
    eval_every: int | None,
    stopping: EarlyStopping | None,
    checkpoints: Checkpoints | None,
) -> None:
    """Check that there are evaluations, where something is decided by them.

    Raises:
        ValueError: if there are none.
    """
    best = None if checkpoints is None else checkpoints.metric
    for what, given in (("stopping", stopping), ("checkpoints with best", best)):
        if given is not None and evaluate is None:
            raise ValueError(f"fit needs evaluate for {what}; got None.")
    if stopping is not None and eval_every is None:
        raise ValueError(
            "fit needs eval_every for stopping, or there is one evaluation, after the last "
            "step; got None."
        )


def check_measured(
    evaluate: Callable | None,
    params: Any,
    stopping: EarlyStopping | None,
    checkpoints: Checkpoints | None,
) -> None:
    """Check that what is decided by a metric has it, if `evaluate` tells what it measures.

    Raises:
        ValueError: if it has not.
    """
    wanted = {
        "stopping": None if stopping is None else stopping.metric,
        "checkpoints with best": None if checkpoints is None else checkpoints.metric,
    }
    named = getattr(evaluate, "named", None)
    if named is None or not any(wanted.values()):
        return
    found = named(params)
    for what, metric in wanted.items():
        if metric is not None and metric not in found:
            raise ValueError(
                f"fit needs evaluate to measure {metric!r} for {what}; "
                f"got {', '.join(map(str, found)) or 'nothing'}."
            )


def due(every: int | None, made: int, count: int) -> bool:
    """Whether the last `count` of `made` steps completed so many."""
    return every is not None and made % every < count
