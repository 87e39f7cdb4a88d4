"""A verdict on the ops of funcnn."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np

from funcnn.verify.check._check import Verdict, chosen_claims, examine
from funcnn.verify.functions._op import Op, discover
from funcnn.verify.functions._split import SplitArguments
from funcnn.verify.report._report import Report

# What runs a rule's own arithmetic again, an operation at a time or in a loop, hangs on
# how the rule is written rather than on its arguments: it is tried on an op's first case.
ONCE = ("jit", "remat", "scan")


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
    ops = discover(dict.fromkeys(names))
    chosen = chosen_claims(claims)
    with jax.enable_x64(True):
        cases = {op.name: op.cases(np.random.default_rng(seed)) for op in ops}
        tasks = [
            (op, number, group)
            for op in ops
            for number, group in enumerate(_alike(op, cases[op.name]))
        ]

    def verdicts(task) -> dict[tuple[str, str], Verdict]:
        op, number, group = task
        found: dict = {}
        like = None
        for case, args in group.items():
            first = not number and not found
            wanted = {k: claim for k, claim in chosen.items() if first or k not in ONCE}
            verdict = examine(op, case, args, seed, wanted, alone=number, like=like)
            found[op.name, case] = verdict
            like = like or verdict.evidence
            if fail_fast and failed(verdict):
                break
        return found

    def failed(verdict):
        return any(row.failure for row in verdict.rows)

    total = sum(map(len, cases.values()))
    found: dict = {}
    # XLA compiles outside Python's lock, so threads share the work.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for some in pool.map(verdicts, tasks):
            for key, verdict in some.items():
                found[key] = verdict
                if progress:
                    progress(len(found), total)
            if fail_fast and any(map(failed, some.values())):
                pool.shutdown(cancel_futures=True)
                break
    order = [(name, case) for name, of_op in cases.items() for case in of_op]
    ordered = [found[key] for key in order if key in found]
    rows = tuple(row for verdict in ordered for row in verdict.rows)
    notes = tuple(dict.fromkeys(note for verdict in ordered for note in verdict.notes))
    subject = f"{len(ops)} op{'s' * (len(ops) != 1)}, {total} cases"
    return Report(subject, rows, notes)


def _alike(op: Op, cases: dict) -> list[dict]:
    """The cases in groups of which only the numbers differ, so that they share programs."""
    groups: list[tuple[SplitArguments, dict]] = []
    for case, args in cases.items():
        split = SplitArguments(op.apply, args)
        group = next((group for first, group in groups if first.fits(split)), None)
        if group is None:
            groups.append((split, {case: args}))
        else:
            group[case] = args
    return [group for _, group in groups]
