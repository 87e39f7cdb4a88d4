"""The verifier inside a test."""

from collections.abc import Callable, Iterable

from funcnn.verify.check._check import check_vjp
from funcnn.verify.report._report import Report


def assert_vjp(
    f: Callable,
    *args,
    reference: Callable | None = None,
    name: str | None = None,
    seed: int = 0,
    claims: Iterable[str] = (),
) -> Report:
    """`check_vjp` for tests: a claim that does not hold is an AssertionError.

    Parametrise tests by the text that arguments are made from: it names them, and names
    them alike in every process of `pytest -n auto`.

        import pytest

        from funcnn import ops, verify

        @pytest.mark.parametrize("spec", ["f32[5]", "f32[2,3]*10", "f32[0]"])
        def test_gelu(spec):
            verify.assert_vjp(ops.gelu, *verify.arguments(spec))

    Args:
        f: as for `check_vjp`.
        *args: as for `check_vjp`, perhaps made by `arguments`.
        reference: as for `check_vjp`.
        name: as for `check_vjp`.
        seed: as for `check_vjp`.
        claims: the names of those to judge; empty means all.

    Returns:
        The Report, if all claims hold.

    Raises:
        AssertionError: with the table and the failures, if one does not.
    """
    __tracebackhide__ = True  # pytest then ends its traceback at the test
    report = check_vjp(f, *args, reference=reference, name=name, seed=seed, claims=claims)
    report.raise_if_failed()
    return report
