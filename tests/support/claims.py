"""The verifier's claims about one op, on some of its cases: a quick run's share of all."""

import numpy as np

from funcnn import verify

NUMBERS = ("value", "vjp")  # the op's values and cotangents are its reference's


def hold(name, *cases, claims=NUMBERS):
    """Check claims about an op on the cases named, all that it declares if none is."""
    (op,) = verify.discover([name])
    given = op.cases(np.random.default_rng(0))
    judged = {claim: verify.CLAIMS[claim] for claim in claims or verify.CLAIMS}
    for case in cases or given:
        rows = verify.judge(op, case, given[case], claims=judged)
        verify.Report(name, tuple(rows)).raise_if_failed()
