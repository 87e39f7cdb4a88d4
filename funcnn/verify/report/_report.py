"""What was found: rows, and a report of them to print, to raise, or to hand on."""

import json
import math
from typing import NamedTuple

from funcnn.verify.report import _text_tables


class Row(NamedTuple):
    """One claim about one subject (an op, a function, a leaf) on one case.

    Attributes:
        subject: what is judged.
        case: the name of its arguments, if it is judged on several.
        claim: the name of the claim, one of `CLAIMS`.
        error: the worst error relative to its scale; infinite where the claim fails
            without numbers.
        failure: None, or sentences that name the argument, the element and the numbers.
        argument: the argument or output at fault.
        element: where it is worst.
        got: the number there.
        want: the number that should be there.
        fault: what is likely wrong, such as a constant factor.
    """

    subject: str
    case: str
    claim: str
    error: float
    failure: str | None = None
    argument: str | None = None
    element: tuple[int, ...] | None = None
    got: float | None = None
    want: float | None = None
    fault: str | None = None


class Report(NamedTuple):
    """The outcome of a check. `str(report)` is a table of the worst errors.

    Attributes:
        title: what was judged.
        rows: a Row for each subject, case and claim.
        notes: what could not be claimed, and why.
        costs: lines of a table of time and memory, if they were measured.
    """

    title: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    costs: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every claim holds."""
        return not self.failures

    @property
    def failures(self) -> list[str]:
        """A sentence or more for each claim that does not hold."""
        return [row.failure for row in self.rows if row.failure]

    @property
    def summary(self) -> str:
        """One line: what was checked, and how much of it holds."""
        failed = len(self.failures)
        outcome = "all hold" if self.ok else f"{failed} do{'es' * (failed == 1)} not hold"
        count = len(self.rows)
        return f"{self.title}: {count} claim{'s' * (count != 1)}, {outcome}."

    def raise_if_failed(self) -> None:
        """Raise AssertionError with the failures and the table, unless all claims hold."""
        __tracebackhide__ = True  # pytest then shows the caller
        if not self.ok:
            raise AssertionError(f"{self.summary}\n\n{self}")

    def render(self, color: bool = False, width: int = 80) -> str:
        """Lay the report out for a terminal.

        One subject has a line for each claim, with what it says; several have a line
        each and a column for each claim. Failures follow in full, then notes and costs.

        Args:
            color: whether to colour verdicts, by ANSI codes.
            width: of the terminal, in characters.

        Returns:
            Lines of at most `width` characters, without the codes.
        """
        return _text_tables.text(self, color, width)

    def to_markdown(self) -> str:
        """The same as a table in Markdown, with the failures in a list."""
        return _text_tables.markdown(self)

    def to_json(self) -> str:
        """Everything in JSON; numbers that are not finite are strings: `"inf"`, `"nan"`."""
        found = {
            "title": self.title,
            "ok": self.ok,
            "rows": [
                {key: _plain(value) for key, value in row._asdict().items()}
                for row in self.rows
            ],
            "notes": self.notes,
            "costs": self.costs,
        }
        return json.dumps(found, indent=1, allow_nan=False)

    def __str__(self) -> str:
        return self.render()


def _plain(value):
    if isinstance(value, tuple):
        return [int(i) for i in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(float(value))
    return value
