"""What was found, as rows, as a table, and as sentences."""

import textwrap
from typing import NamedTuple


class Row(NamedTuple):
    """One claim about one subject (an op, a function, a leaf) on one case.

    `error` is the worst relative error; `failure` is None, or a sentence that names the
    claim, the argument and the numbers.
    """

    subject: str
    case: str
    claim: str
    error: float
    failure: str | None = None


class Report(NamedTuple):
    """The outcome of a check. `str(report)` is a table of the worst errors."""

    title: str
    rows: tuple[Row, ...]

    @property
    def ok(self) -> bool:
        """Whether every claim holds."""
        return not self.failures

    @property
    def failures(self) -> list[str]:
        """A sentence for each claim that does not hold."""
        return [row.failure for row in self.rows if row.failure]

    def raise_if_failed(self) -> None:
        """Raise AssertionError with the failures and the table, unless all claims hold."""
        if not self.ok:
            raise AssertionError(f"\n{self}")

    def __str__(self) -> str:
        """A line a subject, a column a claim; failures in full below."""
        subjects = list(dict.fromkeys(row.subject for row in self.rows))
        claims = list(dict.fromkeys(row.claim for row in self.rows))
        worst: dict = {}
        for row in self.rows:
            cell = worst.get((row.subject, row.claim), 0.0)
            worst[row.subject, row.claim] = (
                "FAIL" if row.failure or cell == "FAIL" else max(cell, row.error)
            )
        cells = {key: _cell(value) for key, value in worst.items()}
        widths = [
            max(len(claim), *(len(cells.get((s, claim), "")) for s in subjects))
            for claim in claims
        ]
        first = max(map(len, [*subjects, ""]))
        head = " ".join(c.rjust(w) for c, w in zip(claims, widths, strict=True))
        lines = [f"{'':{first}} {head}"]
        for s in subjects:
            line = (
                cells.get((s, c), "").rjust(w) for c, w in zip(claims, widths, strict=True)
            )
            lines.append(f"{s:{first}} {' '.join(line)}")
        lines.append(self.summary)
        for row in self.rows:
            if row.failure:
                where = f"{row.claim} [{row.case}]: " if row.case else f"{row.claim}: "
                lines.append(_wrap(where + row.failure))
        return "\n".join(lines)

    @property
    def summary(self) -> str:
        """One line: what was checked, and how much of it holds."""
        failed = len(self.failures)
        outcome = "all hold" if self.ok else f"{failed} do{'es' * (failed == 1)} not hold"
        count = len(self.rows)
        return f"{self.title}: {count} claim{'s' * (count != 1)}, {outcome}."


def _cell(value):
    if isinstance(value, str):
        return value
    return "ok" if value == 0 else f"{value:.0e}"


def _wrap(text):
    return textwrap.fill(text, 80, initial_indent="- ", subsequent_indent="  ")
