"""What is said of ops follows from their times, in 80 columns or in Markdown."""

from benchmarks import tables as common
from benchmarks.ops import tables
from benchmarks.ops.cases import kinds
from benchmarks.ops.shapes import all_shapes
from benchmarks.ops.summary import slow, summarise
from tests.support.benchmark_rows import row


def test_means_are_geometric_and_goals_are_met_or_not():
    rows = [row(ratio=1.0), row("conv 3 4", ratio=4.0), row(kind="filter", ratio=1.9)]
    vjp, filters = summarise(rows)
    assert (vjp.shapes, vjp.mean, vjp.verdict) == (2, 2.0, "reached")
    assert vjp.slowest == rows[0]
    assert (filters.kind, filters.goal, filters.verdict) == ("filter", 2.0, "missed")
    assert summarise([row(kind="forward")])[0].verdict == ""


def test_slow_shapes_are_told():
    rows = [row(), row("conv 3 4", ratio=0.9), row("conv 5 6", ratio=0.5)]
    assert [r.case for r in slow(rows)] == ["conv 5 6", "conv 3 4"]
    assert "0.50  vjp      conv 5 6" in tables.summary_text(rows)
    assert "No shape's ratio is below 0.95." in tables.summary_text(rows[:1])


def test_tables_fit_80_columns():
    rows = [
        row(shape.name, kind, 1234.5, 99, shape.group, shape.network)
        for shape in all_shapes()
        for kind in kinds(shape)
    ]
    text = [common.header(), tables.LEGEND, tables.BYTES, tables.COMPILING]
    text.append(tables.slowest_text([r._replace(ratio=0.5) for r in rows]))
    text += [common.case_lines([r]) for r in rows] + [tables.summary_text(rows)]
    assert max(len(line) for part in text for line in part.splitlines()) <= 80


def test_markdown_has_a_line_a_row():
    rows = [row(), row(kind="filter")]
    text = tables.markdown(rows)
    assert "| conv | vjp | 1 | **2.00** | 1.5, reached | 2.00, Net |" in text
    assert "| conv | Net | `1 2` | filter | 2.00 | 2.00 | 0.10 |" in text
