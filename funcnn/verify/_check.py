"""Ways to ask for a verdict: on one function, on the ops, on a whole model."""

import functools
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np

from funcnn.verify._agreement import Disproof
from funcnn.verify._claims import CLAIMS
from funcnn.verify._evidence import Evidence
from funcnn.verify._report import Report, Row
from funcnn.verify._subject import Op, discover
from funcnn.verify._words import said, title

# What is slow to try, and hangs on how a rule is written rather than on its arguments, is
# tried on the first case of an op.
ONCE = ("jit",)


def check_vjp(
    f: Callable,
    *args,
    reference: Callable | None = None,
    name: str | None = None,
    seed: int = 0,
    claims: Iterable[str] = (),
) -> Report:
    """Judge a function's hand-written derivative rule on one set of arguments.

    Floating-point arrays in `args`, also inside pytrees, are differentiated; everything
    else is held fixed. The mathematics is judged in float64, the rounding in the dtypes
    given. See the verification page for what each claim says.

    Args:
        f: a function with a `jax.custom_vjp` in it.
        *args: its arguments, small arrays of ordinary and of difficult numbers.
        reference: the definition, of the same arguments, differentiable by JAX and with
            no custom rule. None means `autodiff(f)`: what `f` computes, rules ignored.
        name: what to call `f` in the report.
        seed: of the random cotangents and directions.
        claims: names of claims, to leave out the others: `("vjp", "types")`. Empty means
            all.

    Returns:
        A Report with one row a claim.

    Raises:
        TypeError: if there is nothing to differentiate in `args`, or in the output.
        ValueError: if there is no claim of some name.
    """
    name = name or title(f)
    op = Op(name, f, reference, lambda rng: {})
    rows, notes = examine(op, "", args, seed, _chosen(claims), literal=False)
    return Report(name, tuple(rows), tuple(notes))


def check_ops(
    names: Iterable[str] = (),
    seed: int = 0,
    progress: Callable[[int, int], object] | None = None,
    claims: Iterable[str] = (),
    fail_fast: bool = False,
) -> Report:
    """Judge the ops of funcnn, all of them or those named, on all of their cases.

    Args:
        names: of ops; empty means all.
        seed: of the cases' random numbers, the cotangents and the directions.
        progress: called as `progress(done, total)` after each case.
        claims: names of claims, to leave out the others; empty means all.
        fail_fast: whether to stop after the first case on which a claim fails.

    Returns:
        A Report with one row for each op, case and claim.

    Raises:
        ValueError: if there is no op, or no claim, of some name.
    """
    ops = {op.name: op for op in discover()}
    names = list(names) or list(ops)
    if unknown := [name for name in names if name not in ops]:
        raise ValueError(
            f"There is no op {', '.join(map(repr, unknown))}; the ops are {', '.join(ops)}."
        )
    chosen = _chosen(claims)
    with jax.enable_x64(True):
        tasks = [
            (number, ops[name], case, args)
            for name in names
            for number, (case, args) in enumerate(
                ops[name].cases(np.random.default_rng(seed)).items()
            )
        ]

    def verdict(task):
        number, op, case, args = task
        wanted = {k: claim for k, claim in chosen.items() if k not in ONCE or not number}
        return examine(op, case, args, seed, wanted, alone=number)

    rows: list[Row] = []
    notes: list[str] = []
    # XLA compiles outside Python's lock, so threads share the work.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        verdicts = pool.map(verdict, tasks)
        for done, (found, noted) in enumerate(verdicts, start=1):
            rows += found
            notes += noted
            if progress:
                progress(done, len(tasks))
            if fail_fast and any(row.failure for row in found):
                pool.shutdown(cancel_futures=True)
                break
    subject = f"{len(names)} op{'s' * (len(names) != 1)}, {len(tasks)} cases"
    return Report(subject, tuple(rows), tuple(dict.fromkeys(notes)))


def judge(op: Op, case: str, args, seed: int = 0, claims=CLAIMS, literal=True) -> list[Row]:
    """Claims about one op on one case: all of them, or a dict of some.

    `literal` asks that forward mode over the pullback works as it is, which it does not
    for a rule whose forward pass calls the function itself.
    """
    return examine(op, case, args, seed, claims, literal)[0]


def examine(
    op: Op, case: str, args, seed: int = 0, claims=CLAIMS, literal=True, alone=None
) -> tuple[list[Row], list[str]]:
    """As `judge`, with notes on what could not be claimed; `alone` as in `Setting`."""
    try:
        evidence = Evidence(op, args, seed, claims, literal, alone)
    except Exception as error:
        if isinstance(error, TypeError) and "no floating-point array" in str(error):
            raise
        return [_raised(op.name, case, name, error) for name in claims], []
    rows = [
        row(op.name, case, name, functools.partial(claim, evidence))
        for name, claim in claims.items()
    ]
    return rows, evidence.notes


def row(subject: str, case: str, name: str, claim: Callable[[], float]) -> Row:
    """What became of a claim."""
    try:
        return Row(subject, case, name, claim())
    except Disproof as no:
        found = no.argument, no.element, no.got, no.want, no.fault
        return Row(subject, case, name, float("inf"), str(no), *found)
    except Exception as error:  # a rule may raise anything
        return _raised(subject, case, name, error)


def _raised(subject, case, claim, error):
    failure = f"{subject} raises {said(error)}."
    return Row(subject, case, claim, float("inf"), failure)


def _chosen(names):
    names = [names] if isinstance(names, str) else list(names)
    if unknown := [name for name in names if name not in CLAIMS]:
        raise ValueError(
            f"There is no claim {', '.join(map(repr, unknown))}; the claims are "
            f"{', '.join(CLAIMS)}."
        )
    return {name: CLAIMS[name] for name in names or CLAIMS}
