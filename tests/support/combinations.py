"""Tests for all combinations of values, some of them in the quick suite."""

import itertools
import math

import pytest


def combinations(names, *lists, quick):
    """Parametrize a test by the product of lists; about one in `quick` is not exhaustive.

    The step is made coprime to the lists' lengths: what stays holds each value of each.
    """
    while any(math.gcd(quick, len(values)) > 1 for values in lists):
        quick += 1
    return thinned(names, list(itertools.product(*lists)), quick)


def thinned(names, cases, quick):
    """The same for a list of cases: tuples, if there is more than one name."""
    single = "," not in names
    params = [
        pytest.param(
            *([case] if single else case),
            id=str(case) if single else ", ".join(map(str, case)),
            marks=() if i % quick == 0 else pytest.mark.exhaustive,
        )
        for i, case in enumerate(cases)
    ]
    return pytest.mark.parametrize(names, params)
