"""Every op under every transformation: each pair is run, or lowered, and compared.

The subject is always the pullback, in float64. Where a transformation needs several
problems they are stacked along a new first axis, so that any function can be batched,
looped over, and spread over devices.
"""

import contextlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np

from funcnn.verify.functions._op import Op, discover
from funcnn.verify.report._report import Report, Row
from funcnn.verify.transformations._transforms import CELLS, DEVICES, mesh
from funcnn.verify.transformations._trial_problems import telling_case


def eight_devices() -> None:
    """Have the CPU pose as eight devices; in vain once JAX has made an array."""
    with contextlib.suppress(RuntimeError):  # `matrix` will tell
        jax.config.update("jax_num_cpu_devices", DEVICES)


def matrix(
    names: Iterable[str] = (), progress: Callable[[int, int], object] | None = None
) -> Report:
    """Run the ops of funcnn, all of them or those named, under every transformation.

    Args:
        names: of ops; empty means all.
        progress: called as `progress(done, total)` after each op.

    Returns:
        A Report with a row for each op and transformation.

    Raises:
        ValueError: if there is no op of some name.
        RuntimeError: if there are not eight devices.
    """
    ops = discover(names)
    mesh()
    rows: list[Row] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, found in enumerate(pool.map(transformed, ops), start=1):
            rows += found
            if progress:
                progress(done, len(ops))
    return Report(f"{len(ops)} op{'s' * (len(ops) != 1)}, transformed", tuple(rows))


def transformed(op: Op) -> list[Row]:
    """A row for each transformation of one op."""
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        try:
            case, trial = telling_case(op)
        except Exception as error:  # a rule may raise anything
            return [Row(op.name, "", name, np.inf, _raises(op, error)) for name in CELLS]
        rows = []
        for name, cell in CELLS.items():
            try:
                cell(trial)
                rows.append(Row(op.name, case, name, 0.0))
            except AssertionError as false:
                rows.append(Row(op.name, case, name, np.inf, f"{op.name}: {false}"))
            except Exception as error:
                rows.append(Row(op.name, case, name, np.inf, _raises(op, error)))
    return rows


def _raises(op, error):
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{op.name} raises {type(error).__name__}: {lines[0]}"
