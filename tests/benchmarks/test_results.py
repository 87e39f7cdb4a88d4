"""Runs are kept in files, and compared with earlier ones."""

import pytest

from benchmarks import results
from benchmarks.results import Run
from tests.support.benchmark_rows import row


def test_runs_read_back(tmp_path):
    run = Run((row(), row(ratio=1 / 3)), results.here())
    results.write(tmp_path / "run.json", run)
    back = results.read(tmp_path / "run.json")
    assert back.about == run.about
    assert [r.case for r in back.rows] == [r.case for r in run.rows]
    assert back.rows[1].ratio == 0.3333


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no file"):
        results.read(tmp_path / "none.json")
    for text in ("", "[]", '{"rows": [{"a": 1}], "about": {}}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(ValueError, match="does not hold a run"):
            results.read(tmp_path / "bad.json")


@pytest.mark.parametrize(
    ("before", "after", "fell"),
    [
        ((2.0, 0.0), (1.61, 0.0), False),  # by less than a fifth
        ((2.0, 0.0), (1.59, 0.0), True),
        ((2.0, 0.4), (1.59, 0.0), False),  # no more than then from round to round
        ((2.0, 0.0), (1.59, 0.4), False),
        ((2.0, 0.1), (1.0, 0.1), True),
        ((1.0, 0.1), (2.0, 0.1), False),
    ],
)
def test_regressions(before, after, fell):
    old, new = (Run((row(ratio=r, spread=s),), {}) for r, s in (before, after))
    found = results.regressions(new, old)
    assert bool(found) == fell
    if fell:
        assert found[0].startswith(f"conv 1 2, vjp: {after[0]:.2f}")


def test_regressions_are_of_the_same_case_and_kind():
    old = Run((row(ratio=9), row("conv 3 4", "filter", 9)), {})
    new = Run((row(kind="filter", ratio=1), row("conv 3 4", ratio=1)), {})
    assert results.regressions(new, old) == []
    assert len(results.uncovered(new, old)) == 4
