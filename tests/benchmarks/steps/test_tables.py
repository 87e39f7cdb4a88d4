"""What is said of training steps, in 80 columns."""

from benchmarks.steps import tables as step_tables
from tests.support.benchmark_rows import COSTS, STEPS


def test_best_peers():
    text = step_tables.summary_text(STEPS).splitlines()
    assert text[1].split() == ["mlp", "1.00", "haiku", "0.50"]
    assert text[2].split() == ["cnn", "4.00", "flax", "-"]
    assert text[3].split() == ["mean", "2.00", "0.50"]
    text = step_tables.costs_text(COSTS)
    assert "compile      2000    1000    2.00" in text
    assert "haiku" not in text


def test_step_tables_fit_80_columns():
    text = [step_tables.HEAD, step_tables.model_lines(STEPS[:3]), step_tables.LEGEND]
    text += [step_tables.summary_text(STEPS), step_tables.costs_text(COSTS)]
    assert max(len(line) for part in text for line in part.splitlines()) <= 80
