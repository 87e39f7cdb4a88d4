"""A report as text for a terminal, and as Markdown."""

import html
import math
import re
import textwrap

from funcnn.verify.claims._claims import CLAIMS

ANSI = {"ok": "32", "FAIL": "31", "dim": "2"}  # green, red, dim
NAME = 20  # columns that a subject's name may have, if it needs them


def text(report, color: bool, width: int) -> str:
    """A table, the summary, then failures, notes and costs."""

    def paint(string, style=None):
        code = ANSI.get(style or string.strip())
        return f"\033[{code}m{string}\033[0m" if color and code else string

    lines = _table(report.rows)(report.rows, width, paint)
    style = "ok" if report.ok else "FAIL"
    lines += [paint(line, style) for line in _wrap(report.summary, width)]
    for claims, case, failure in _failures(report.rows):
        first, *rest = _wrap(f"{claims}{case}: {failure}", width, "- ", "  ")
        lines += [first.replace(claims, paint(claims, "FAIL"), 1), *rest]
    for note in report.notes:
        lines += [paint(line, "dim") for line in _wrap(f"Note: {note}", width)]
    return "\n".join([*lines, *[""] * bool(report.costs), *report.costs])


def markdown(report) -> str:
    """A table, the summary, a list of failures, then notes and costs."""
    subjects, claims, worst = _worst(report.rows)
    if _table(report.rows) is _by_claim:
        table = [[f"`{subjects[0]}`", "", "worst error", "what it says"]]
        for claim in claims:
            verdict, number = _verdict(*worst[subjects[0], claim])
            table.append([f"`{claim}`", verdict, number, _escape(meaning(claim))])
    else:
        table = [["", *(f"`{claim}`" for claim in claims)]]
        for s in subjects:
            cells = [_cell(*worst[s, c]) if (s, c) in worst else "" for c in claims]
            table.append([f"`{s}`", *cells])
    table.insert(1, ["---"] * len(table[0]))
    lines = [f"| {' | '.join(line)} |".replace("FAIL", "**FAIL**") for line in table]
    failures = [
        f"- **{_escape(claims + case)}:** {_escape(failure)}"
        for claims, case, failure in _failures(report.rows)
    ]
    parts = ["\n".join(lines) if subjects else "", _escape(report.summary)]
    parts += ["\n".join(failures), *map(_escape, report.notes)]
    parts += ["\n".join(["```text", *report.costs, "```"])] if report.costs else []
    return "\n\n".join(part for part in parts if part)


def _table(rows):
    """How to show them: one subject of the claims that say what they mean, or another."""
    subjects, claims, _ = _worst(rows)
    return _by_claim if len(subjects) == 1 and {*claims} <= {*CLAIMS} else _by_subject


def _by_claim(rows, width, paint):
    """One subject: a line for each claim, with what it says."""
    (subject,), claims, worst = _worst(rows)
    room = max(map(len, claims))
    failed = any(row.failure for row in rows)
    head = _shorten([subject], width - 6)[0]
    lines = [f"{head}  {paint('FAIL' if failed else 'ok')}"]
    for claim in claims:
        verdict, number = _verdict(*worst[subject, claim])
        indent = room + 15
        first, *rest = _wrap(meaning(claim), width - indent) or [""]
        line = f"{claim:{room}}  {paint(f'{verdict:4}')}  {number:5}  {first}"
        lines += [line.rstrip(), *(" " * indent + more for more in rest)]
    return lines


def _by_subject(rows, width, paint):
    """Several subjects: a line for each, a column for each claim, in blocks if need be."""
    subjects, claims, worst = _worst(rows)
    cells = {key: _cell(*value) for key, value in worst.items()}
    widths = {
        c: max(len(c), *(len(cells.get((s, c), "")) for s in subjects)) for c in claims
    }
    longest = max(map(len, subjects), default=0)
    blocks: list = []
    for count in range(1, len(claims) + 1):
        size = math.ceil(len(claims) / count)
        blocks = [claims[i : i + size] for i in range(0, len(claims), size)]
        rooms = [width - sum(widths[c] + 1 for c in block) for block in blocks]
        if min(rooms) >= min(longest, NAME):
            break
    lines: list[str] = []
    for block in blocks:
        room = min(longest, width - sum(widths[c] + 1 for c in block))
        lines += [""] * bool(lines)
        lines.append(" ".join([" " * room, *(c.rjust(widths[c]) for c in block)]))
        for s, name in zip(subjects, _shorten(subjects, room), strict=True):
            shown = (paint(cells.get((s, c), "").rjust(widths[c])) for c in block)
            lines.append(" ".join([name.ljust(room), *shown]))
    return lines


def _worst(rows):
    """Subjects, claims, and for each pair whether one failed, and the worst error."""
    worst: dict = {}
    for row in rows:
        failed, error = worst.get((row.subject, row.claim), (False, 0.0))
        now = failed or bool(row.failure), max(error, row.error)
        worst[row.subject, row.claim] = now
    subjects = list(dict.fromkeys(subject for subject, _ in worst))
    return subjects, list(dict.fromkeys(claim for _, claim in worst)), worst


def _cell(failed, error):
    verdict, number = _verdict(failed, error)
    return verdict if failed else number or verdict


def _verdict(failed, error):
    number = f"{error:.0e}" if error and not (failed and math.isinf(error)) else ""
    return "FAIL" if failed else "ok", number


def meaning(claim):
    """The first line of what the claim says of itself, if it is one of ours."""
    lines = (getattr(CLAIMS.get(claim), "__doc__", None) or "").splitlines()
    return lines[0] if lines else ""


def _failures(rows):
    """Claims, case and sentences; claims that fail in the same words come together."""
    groups: dict = {}
    for row in rows:
        if row.failure:
            groups.setdefault((row.case, row.failure), []).append(row.claim)
    for (case, failure), claims in groups.items():
        yield ", ".join(claims), f" [{case}]" if case else "", failure


def _shorten(names, room):
    """Cut names to `room` characters: in the middle, or where they stay distinct."""

    def cut(head):
        tail = room - head - 1
        return [s if len(s) <= room else f"{s[:head]}…{s[len(s) - tail :]}" for s in names]

    middle = (room - 1) // 2
    heads = sorted(range(room), key=lambda head: abs(head - middle))
    return max(map(cut, heads), key=lambda names: len({*names}), default=[])


def _wrap(string, width, first="", rest=""):
    return textwrap.wrap(
        string, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    )


def _escape(string):
    """Keep Markdown and HTML from reading anything into it."""
    return re.sub(r"([\\`*_|])", r"\\\1", html.escape(string, quote=False))
