"""A verdict on one function at one set of arguments."""

import functools
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from funcnn.verify.claims._case_numbers import CaseNumbers
from funcnn.verify.claims._claims import CLAIMS
from funcnn.verify.claims._compare_arrays import ClaimFails
from funcnn.verify.functions._autodiff import with_plain_numbers
from funcnn.verify.functions._op import Op
from funcnn.verify.functions._phrases import said, title
from funcnn.verify.report._report import Report, Row


class Verdict(NamedTuple):
    """What became of each claim, notes on what could not be claimed, the numbers."""

    rows: list[Row]
    notes: list[str]
    evidence: CaseNumbers | None = None


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
    args = with_plain_numbers(f, args)
    found = examine(op, "", args, seed, chosen_claims(claims), literal=False)
    return Report(name, tuple(found.rows), tuple(found.notes))


def judge(op: Op, case: str, args, seed: int = 0, claims=CLAIMS, literal=True) -> list[Row]:
    """Claims about one op on one case: all of them, or a dict of some.

    `literal` asks that forward mode over the pullback works as it is, which it does not
    for a rule whose forward pass calls the function itself.
    """
    return examine(op, case, args, seed, claims, literal).rows


def examine(
    op: Op,
    case: str,
    args,
    seed: int = 0,
    claims=CLAIMS,
    literal=True,
    alone=None,
    like: CaseNumbers | None = None,
) -> Verdict:
    """As `judge`, with more than the rows; `alone` and `like` as in `CaseNumbers`."""
    try:
        evidence = CaseNumbers(op, args, seed, claims, literal, alone, like)
    except Exception as error:
        if isinstance(error, TypeError) and "no floating-point array" in str(error):
            raise
        return Verdict([_raised(op.name, case, name, error) for name in claims], [])
    rows = [
        row(op.name, case, name, functools.partial(supported, claim, evidence))
        for name, claim in claims.items()
    ]
    return Verdict(rows, evidence.notes, evidence)


def supported(claim, evidence) -> float:
    """What a claim finds, or 0 and a note if a user's primitive lacks what JAX needs."""
    try:
        return claim(evidence)
    except (NotImplementedError, ClaimFails) as error:
        missing = re.search(r"for (\w+) support, subclass", str(error))
        if missing is None:
            raise
        evidence.note(f"Not all could be run: a primitive has no rule for {missing[1]}.")
        return 0.0


def row(subject: str, case: str, name: str, claim: Callable[[], float]) -> Row:
    """What became of a claim."""
    try:
        return Row(subject, case, name, claim())
    except ClaimFails as no:
        found = no.argument, no.element, no.got, no.want, no.fault
        return Row(subject, case, name, float("inf"), str(no), *found)
    except Exception as error:  # a rule may raise anything
        return _raised(subject, case, name, error)


def _raised(subject, case, claim, error):
    failure = f"{subject} raises {said(error)}."
    return Row(subject, case, claim, float("inf"), failure)


def chosen_claims(names: Iterable[str]) -> dict[str, Callable]:
    """The claims of these names, or all.

    Raises:
        ValueError: if there is no claim of some name.
    """
    names = [names] if isinstance(names, str) else list(names)
    if unknown := [name for name in names if name not in CLAIMS]:
        raise ValueError(
            f"There is no claim {', '.join(map(repr, unknown))}; the claims are "
            f"{', '.join(CLAIMS)}."
        )
    return {name: CLAIMS[name] for name in names or CLAIMS}
