"""The verifier, and `jax.test_util.check_grads` beside it, tried on the catalogue."""

import contextlib
import warnings
from collections.abc import Callable

import jax
import numpy as np
from jax.test_util import check_grads

from funcnn import verify
from funcnn.verify.check._check import examine
from funcnn.verify.claims._claims import CLAIMS
from funcnn.verify.functions._op import Op
from funcnn.verify.functions._split import SplitArguments
from tests.catalogue.entry import Entry


@contextlib.contextmanager
def as_users_have_it():
    """JAX's defaults, and no word of NumPy's where numbers overflow on purpose."""
    with (
        jax.enable_x64(False),
        jax.numpy_dtype_promotion("standard"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", RuntimeWarning)
        warnings.simplefilter("ignore", UserWarning)
        yield


def judged(entry: Entry, seed: int = 0, claims=()) -> verify.Report:
    """What the verifier makes of an entry."""
    options = {"reference": entry.reference, "name": entry.name}
    with as_users_have_it():
        args = entry.args(np.random.default_rng(seed))
        return verify.check_vjp(entry.f, *args, seed=seed, claims=claims, **options)


def verifier(entry: Entry, seeds: int = 1, suspect: bool = False) -> list[bool]:
    """Whether the verifier raises the alarm, for each of the first seeds of arguments.

    Most wrong rules are caught by the first claim alone: of a `suspect` that is tried
    first, and the others if need be.
    """
    if suspect and all(alarms := _alarms(entry, seeds, {"vjp": CLAIMS["vjp"]})):
        return alarms
    return _alarms(entry, seeds, CLAIMS)


def _alarms(entry, seeds, claims):
    # What is compiled for one seed serves the others, or twenty would take hours.
    op = Op(entry.name, entry.f, entry.reference, entry.args)
    alarms, like = [], None
    for seed in range(seeds):
        with as_users_have_it():
            args = entry.args(np.random.default_rng(seed))
            found = examine(op, "", args, seed, claims, literal=False, like=like)
        alarms.append(any(row.failure for row in found.rows))
        like = like or found.evidence
    return alarms


def defaults(entry: Entry, seeds: int = 1, suspect: bool = False) -> list[bool]:
    """Whether `check_grads` does, left to its defaults, for the first seed."""
    return [_alarmed(entry, 0)]


def reverse_mode(entry: Entry, seeds: int = 1, suspect: bool = False) -> list[bool]:
    """Whether `check_grads` does, asked for reverse mode alone, as a custom_vjp needs."""
    return [_alarmed(entry, 0, modes=["rev"])]


JUDGES: dict[str, Callable[[Entry, int, bool], list[bool]]] = {
    "check_vjp": verifier,
    'check_grads, modes=["rev"]': reverse_mode,
    "check_grads": defaults,
}


def _alarmed(entry, seed, **options):
    with as_users_have_it():
        args = entry.args(np.random.default_rng(seed))
        split = SplitArguments(entry.f, args)
        double = any(leaf.dtype == np.float64 for leaf in split.leaves)
        with jax.enable_x64(double):
            try:
                check_grads(
                    lambda *leaves: split.call(entry.f, leaves, split.held),
                    tuple(split.leaves),
                    order=2,
                    **options,
                )
            except Exception:  # an alarm of any kind
                return True
    return False
