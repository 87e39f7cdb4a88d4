"""A report as a table, in colour, as JSON and as Markdown, and as a test's failure."""

import json
import math
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import ops, verify
from funcnn.verify import Report, Row

X = np.array([0.3, 0.7, -0.4])
CODES = re.compile(r"\033\[(\d+)m(.*?)\033\[0m")


def rows(*subjects, claims=verify.CLAIMS, error=1e-16):
    return tuple(Row(s, "case", claim, error) for s in subjects for claim in claims)


def failing(claim="vjp", failure="it is wrong", **more):
    return Row("dense", "batch", claim, 0.5, failure, **more)


# --- the table ------------------------------------------------------------------------


def test_many_subjects_have_a_line_each_and_the_worst_error():
    found = [Row("relu", "a", "vjp", 1e-16), Row("relu", "b", "vjp", 3e-12)]
    found += [Row("dense", "", "vjp", 0.0), Row("dense", "", "diff", 2e-9)]
    assert str(Report("2 ops", tuple(found))).splitlines() == [
        "        vjp  diff",
        "relu  3e-12      ",
        "dense    ok 2e-09",
        "2 ops: 4 claims, all hold.",
    ]


def test_failures_are_wrapped_below_the_table():
    counts = []
    report = verify.check_ops(
        ["dense", "relu"], progress=lambda *n: counts.append(n), claims=["rule", "types"]
    )
    assert counts[-1] == (len(counts), len(counts))
    lines = str(report).splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["dense", "relu"]
    assert lines[3].endswith("all hold.")
    failed = Row("dense", "batch", "types", 1.0, "dense is wrong " * 20)
    lines = str(report._replace(rows=(*report.rows, failed))).splitlines()
    assert lines[1].split() == ["dense", "ok", "FAIL"]
    assert lines[4].startswith("- types [batch]: dense is wrong")
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("width", [40, 80, 100])
@pytest.mark.parametrize("count", [3, 10, 12, 20])
def test_the_widest_table_fits(width, count):
    names = [op.name for op in verify.discover()]
    names += ["params['blocks'][3]['attention']['query']"]
    claims = [*verify.CLAIMS, *(f"claim{i}" for i in range(20))][:count]
    text = Report("all", rows(*names, claims=claims)).render(width=width)
    assert max(map(len, text.splitlines())) <= width
    assert text.count("1e-16") == count * len(names)
    for claim in claims:
        assert len(re.findall(rf"\b{claim}\b", text)) == 1


def test_columns_break_into_blocks_rather_than_names():
    claims = [f"claim{i}" for i in range(12)]
    lines = str(Report("", rows("a_name_of_28_characters_here", "b", claims=claims)))
    first, second = lines.split("\n\n")
    assert first.splitlines()[0].split() == claims[:6]
    assert second.splitlines()[0].split() == claims[6:]
    assert lines.count("a_name_of_28_characters_here") == 2


def test_long_names_are_cut_where_they_stay_distinct():
    names = [f"params['encoder'][{i}]{'[0]' * 30}" for i in range(3)]
    names += [f"params{'[0]' * 30}['{end}']" for end in ("weight", "bias")]
    lines = str(Report("loss", rows(*names, claims=["vjp"]))).splitlines()[1:-1]
    assert len({*lines}) == len(names)
    assert all(line.count("…") == 1 and len(line) == 80 for line in lines)


def test_one_subject_has_a_line_for_each_claim_with_what_it_says():
    found = (
        *rows("sine", claims=["rule", "vjp"], error=0.0),
        Row("sine", "", "diff", 2e-9),
    )
    lines = str(Report("sine", found)).splitlines()
    assert lines[0] == "sine  ok"
    assert lines[1].split()[:2] == ["rule", "ok"]
    text = " ".join(" ".join(lines).split())
    for claim in ("rule", "vjp", "diff"):
        assert verify.CLAIMS[claim].__doc__.splitlines()[0] in text
    assert "diff ok 2e-09" in text
    assert max(map(len, lines)) <= 80


def test_one_subject_shows_a_failure_with_its_error_if_it_has_one():
    found = (
        Row("f", "", "vjp", 0.5, "f is off"),
        Row("f", "", "rule", math.inf, "no rule"),
    )
    lines = str(Report("f", found)).splitlines()
    assert lines[0] == "f  FAIL"
    vjp, rule = (re.search(rf"^{claim} .*", str(Report("f", found)), re.M)[0].split()
                 for claim in ("vjp", "rule"))  # fmt: skip
    assert vjp[1:3] == ["FAIL", "5e-01"]
    assert rule[1] == "FAIL"
    assert "inf" not in rule
    assert lines[-2:] == ["- vjp: f is off", "- rule: no rule"]


def test_failures_in_the_same_words_are_told_once():
    found = [failing(claim) for claim in ("vjp", "scan")] + [failing("vmap", "other")]
    found += [failing()._replace(case="row")]
    report = Report("", tuple(found))
    assert str(report).splitlines()[-3:] == [
        "- vjp, scan [batch]: it is wrong",
        "- vmap [batch]: other",
        "- vjp [row]: it is wrong",
    ]
    assert len(report.failures) == 4
    assert "4 do not hold" in report.summary


def test_numbers_and_names_in_failures_are_not_broken():
    sentence = "word " * 14 + "1.25e-07 is not-quite what it should be"
    assert "not-quite" in str(Report("", (failing(failure=sentence),)))


def test_notes_and_costs_come_last():
    report = Report(
        "f", rows("f"), ("Nothing is claimed of x. " * 9,), ("time 1 ms", "held 2 B")
    )
    lines = str(report).splitlines()
    note = next(i for i, line in enumerate(lines) if line.startswith("Note: Nothing"))
    assert lines[note - 1] == report.summary
    assert max(map(len, lines)) <= 80
    assert lines[-3:] == ["", "time 1 ms", "held 2 B"]


def test_nothing_is_no_table():
    empty = Report("nothing", ())
    assert str(empty) == "nothing: 0 claims, all hold."
    assert empty.to_markdown() == str(empty)
    assert json.loads(empty.to_json())["rows"] == []


# --- colour ---------------------------------------------------------------------------


@pytest.mark.parametrize("others", [(), rows("relu", error=0.0)])
def test_colour_is_for_verdicts_and_only_if_asked_for(others):
    report = Report("", (*rows("dense", error=0.0), failing(), *others), ("A note.",))
    assert "\033" not in str(report)
    colored = report.render(color=True)
    assert CODES.sub(r"\2", colored) == str(report)
    meant = {("32", "ok"), ("31", "FAIL"), ("31", report.summary), ("31", "vjp"),
             ("2", "Note: A note.")}  # fmt: skip
    assert {(code, text.strip()) for code, text in CODES.findall(colored)} == meant


def test_a_report_that_holds_is_green():
    colored = Report("", rows("f", error=0.0)).render(color=True)
    assert {code for code, _ in CODES.findall(colored)} == {"32"}


# --- JSON and Markdown ----------------------------------------------------------------


def test_json_has_everything_and_is_valid():
    bad = failing(
        argument="params['w']", element=(np.int64(0), 2), got=math.nan, want=-math.inf
    )
    report = Report(
        "t", (Row("f", "", "rule", math.inf, "none", fault="x"), bad), ("n",), ("c",)
    )

    def never(constant):
        raise ValueError(constant)

    found = json.loads(report.to_json(), parse_constant=never)
    assert found["title"] == "t"
    assert found["ok"] is False
    assert (found["notes"], found["costs"]) == (["n"], ["c"])
    first, second = found["rows"]
    assert float(first["error"]) == math.inf
    assert first["fault"] == "x"
    assert second["element"] == [0, 2]
    assert (second["got"], second["want"]) == ("nan", "-inf")
    assert second["error"] == 0.5
    assert list(second) == list(Row._fields)


def html(report):
    markdown = pytest.importorskip("markdown", reason="comes with mkdocs")
    return markdown.markdown(report.to_markdown(), extensions=["tables", "fenced_code"])


def test_markdown_renders_many_subjects():
    sentence = "f_x of <x> is *wrong*: `a_b` at [0, 1] | 2"
    found = (
        *rows("relu", "dense", error=0.0),
        failing(failure=sentence),
        failing("diff", "no"),
    )
    page = html(Report("2 ops", found, ("A _note_.",), ("a  | b",)))
    assert page.count("<table>") == 1
    assert page.count("<tr>") == 3
    assert page.count("<td><strong>FAIL</strong></td>") == 2
    assert page.count("<li>") == 2
    assert "f_x of &lt;x&gt; is *wrong*: `a_b` at [0, 1] | 2</li>" in page
    assert "<p>A _note_.</p>" in page
    assert "a  | b" in page
    assert "<em>" not in page


def test_markdown_renders_one_subject():
    page = html(Report("sine", rows("sine"), (), ()))
    assert page.count("<tr>") == 1 + len(verify.CLAIMS)
    assert "<td><code>vjp</code></td>" in page
    assert verify.CLAIMS["rule"].__doc__.splitlines()[0] in page
    assert "1e-16" in page


# --- assert_vjp -----------------------------------------------------------------------


@jax.custom_vjp
def faulty(x):
    return jnp.sin(x)


faulty.defvjp(lambda x: (jnp.sin(x), x), lambda x, dy: (0.5 * jnp.cos(x) * dy,))


def test_assert_vjp_returns_the_report_or_raises_it():
    report = verify.assert_vjp(ops.gelu, X, name="g", claims=["rule", "vjp"])
    assert report.ok
    assert [(row.subject, row.claim) for row in report.rows] == [
        ("g", "rule"),
        ("g", "vjp"),
    ]
    with pytest.raises(AssertionError, match=r"(?s)faulty  FAIL\n.*- vjp: faulty: "):
        verify.assert_vjp(faulty, X, reference=jnp.sin)
    verify.assert_vjp(faulty, X, claims=["rule", "value"])


TEST = """
import jax
import pytest
from funcnn import ops, verify

@pytest.mark.parametrize("f", [ops.gelu, jax.numpy.sin], ids=["right", "wrong"])
@pytest.mark.parametrize("spec", ["f32[2]", "f32[2,3]*10"])
def test_rule(f, spec):
    args, reference = verify.arguments(spec), verify.autodiff(ops.gelu)
    verify.assert_vjp(f, *args, reference=reference, name="mine", claims=["value"])
"""


@pytest.mark.parametrize(
    "processes", [[], pytest.param(["-n", "2"], marks=pytest.mark.exhaustive)]
)
def test_assert_vjp_in_a_test_of_pytest(tmp_path, processes):
    if processes:
        pytest.importorskip("xdist")
    (tmp_path / "test_rules.py").write_text(TEST)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *processes]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "2 failed, 2 passed" in done.stdout, done.stdout + done.stderr
    # where the variable CI is set, pytest's summary repeats the whole message
    tracebacks = done.stdout.partition("short test summary")[0]
    assert tracebacks.count("mine  FAIL") == 2
    assert tracebacks.count("- value: mine") == 2
    assert "_assert.py" not in done.stdout  # its frames are hidden
    assert "_report.py" not in done.stdout
