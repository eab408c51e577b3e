"""The table of faults in docs/reliability.md: made of the outcomes of the tests that are marked ``fault(what, how)``."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

BEGIN, END = "<!-- faults: written by make torture -->", "<!-- end of faults -->"
_HEAD = ("| fault | how it is injected | tries | outcome | test |", "|---|---|---|---|---|")
_BY = ", by place: "


@dataclass
class Row:
    """One kind of fault."""

    how: str
    test: str
    tries: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    places: Counter[str] = field(default_factory=Counter)


@dataclass(eq=False)  # pytest keeps plugins in sets
class FaultTable:
    """A pytest plugin: collects outcomes, and writes the table after each test that is marked; rows of tests that did not run stay.

    A test may say how often it tried by ``record_property("tries", n)``, and where by ``record_property("places", {place: n})``; one of
    Hypothesis's tried each of its examples.
    """

    page: Path
    rows: dict[str, Row] = field(default_factory=dict)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Any:
        """Take note of a test that is marked."""
        report = (yield).get_result()
        marker = item.get_closest_marker("fault")
        if marker is None or not (report.when == "call" or report.outcome != "passed"):
            return
        what, how = marker.args
        row = self.rows.setdefault(what, Row(how, f"{item.nodeid.split('[')[0]}"))
        given = dict(report.user_properties)
        row.tries += int(given.get("tries", _examples(item) or report.outcome != "skipped"))
        row.outcomes[report.outcome] += 1
        row.places.update(given.get("places", {}))
        self.write()

    def write(self) -> None:
        """Put the table between its two marks."""
        text = self.page.read_text(encoding="utf-8")
        before, rest = text.split(BEGIN)
        present, after = rest.split(END)
        self.page.write_text(before + BEGIN + "\n\n" + self.table(present) + "\n" + END + after, encoding="utf-8")

    def table(self, present: str) -> str:
        """Markdown.

        Args:
            present: the table so far.
        """
        kept = [line for line in present.splitlines() if line.strip() and line not in _HEAD]
        listed = {_what(line): line for line in kept if line.startswith("|")}
        places = {line.split(_BY)[0]: line for line in kept if _BY in line and not line.startswith("|")}
        for what, row in self.rows.items():
            places.pop(what, None)
            listed[what] = f"| {what} | {row.how} | {row.tries} | {_outcome(row)} | `{row.test}` |"
            if row.places:
                places[what] = f"{what}{_BY}{', '.join(f'{place} {count}' for place, count in sorted(row.places.items()))}."
        return "\n".join([*_HEAD, *sorted(listed.values(), key=_test), *(f"\n{places[what]}" for what in sorted(places))]) + "\n"


def _examples(item: pytest.Item) -> int:
    """How many examples Hypothesis tried in a test of its own."""
    found = re.findall(r"(\d+) passing, (\d+) failing", getattr(item, "hypothesis_statistics", ""))
    return sum(int(passing) + int(failing) for passing, failing in found)


def _what(line: str) -> str:
    return line.split("|")[1].strip()


def _test(line: str) -> tuple[str, str]:
    """Rows of one file stand together."""
    return line.rstrip(" |").rpartition("|")[2], line


def _outcome(row: Row) -> str:
    if set(row.outcomes) == {"passed"}:
        return "held"
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(row.outcomes.items()))
