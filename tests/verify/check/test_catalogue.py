"""Every wrong rule of the catalogue is caught, and no right function is accused."""

import pytest

from tests.catalogue.__main__ import main
from tests.catalogue.entry import families
from tests.catalogue.trial import judged


def params(folder, quick):
    """The entries of a folder: the first few of each family, and exhaustively the rest."""
    return [
        pytest.param(
            entry, id=entry.name, marks=[pytest.mark.exhaustive] if number >= quick else []
        )
        for family in families(folder).values()
        for number, entry in enumerate(family)
    ]


WRONG = params("wrong", 2)
RIGHT = params("right", 1)


def test_there_are_many_and_of_many_kinds():
    assert len(WRONG) >= 100
    assert len(RIGHT) >= 100
    assert len(families("wrong")) >= 10
    assert len({p.id for p in WRONG}) == len(WRONG)
    assert len({p.id for p in RIGHT}) == len(RIGHT)


@pytest.mark.parametrize("entry", WRONG)
def test_a_wrong_rule_is_caught(entry):
    # most are caught by the first claim alone, which saves the time for the rest
    if judged(entry, claims=["vjp"]).ok:
        report = judged(entry)
        assert not report.ok, f"{entry.note}\n{report}"


@pytest.mark.parametrize("entry", RIGHT)
def test_a_right_function_is_not_accused(entry):
    report = judged(entry)
    assert report.ok, f"{entry.note}\n{report}"


def test_the_command_counts(capsys):
    assert main(["fourier"]) == 0
    out = capsys.readouterr().out
    assert "fourier       2          0" in out
    assert "Wrong rules, caught" in out
    assert main(["fourier", "--markdown", "--alone"]) == 0
    assert "| fourier | 2 | 0 |" in capsys.readouterr().out
