"""All partitions' findings in one report, and the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tasks.errors import GateError
from tasks.store.manifest import Part

_EXAMPLES = 5
_COUNTS = ("candidates", "anchor_rows", "negatives", "short_rows", "missing_negatives")

WHAT = {
    "negative_is_positive": "negatives that are positives of their query",
    "copy_of_positive": "negatives that are copies of a positive",
    "copy_of_query": "negatives that are the query itself",
    "non_finite_score": "scores that are missing, infinite or NaN",
    "duplicate_negative": "negatives that occur twice in a row",
    "unresolved_id": "training lines whose query or document does not resolve",
    "score_order": "ranks that contradict their scores",
    "slots": "training rows whose slots are not 0, 1, 2 …",
    "decision_count": "candidates without exactly one decision",
    "undecided_negative": "training negatives without the decision negative",
}


@dataclass(frozen=True)
class GateReport:
    """What the gate found in a selection.

    Args:
        violations: how many, by kind; every kind that was looked for is there.
        examples: a few places of each kind that was found: query_id, doc_id, row_no, detail.
        counts: candidates, anchor_rows, negatives; short_rows (fewer negatives than asked), missing_negatives.
    """

    violations: Mapping[str, int]
    examples: Mapping[str, list[dict[str, Any]]]
    counts: Mapping[str, int]

    @property
    def passed(self) -> bool:
        """Whether the round may be published."""
        return not any(self.violations.values())

    def as_json(self) -> dict[str, Any]:
        """The report as plain data."""
        return {"passed": self.passed, "violations": dict(self.violations), "examples": dict(self.examples), **self.counts}

    def raise_if_failed(self) -> None:
        """Refuse a selection that fails.

        Raises:
            GateError: what was violated, how often, and where.
        """
        if self.passed:
            return
        lines = []
        for kind, count in self.violations.items():
            if count:
                lines.append(f"{count} {WHAT[kind]} ({kind}):")
                lines += [
                    f"  query {place['query_id']!r}, document {place['doc_id']!r}: {place['detail']}"
                    for place in self.examples.get(kind, [])
                ]
        raise GateError(
            "the round failed the release gate and is not published\n" + "\n".join(lines),
            "mend the data, the model or the recipe that the examples point to, then run again; finished stages are kept",
        )


def check(parts: Iterable[Part]) -> GateReport:
    """The report over the gate's parts, in their order."""
    violations: dict[str, int] = {}
    examples: dict[str, list[dict[str, Any]]] = {}
    counts = dict.fromkeys(_COUNTS, 0)
    for part in parts:
        for kind, count in part.meta["violations"].items():
            violations[kind] = violations.get(kind, 0) + int(count)
        for kind, places in part.meta["examples"].items():
            examples[kind] = [*examples.get(kind, []), *places][:_EXAMPLES]
        for name in _COUNTS:
            counts[name] += int(part.meta[name])
    return GateReport(violations, examples, counts)
