"""The rule of what labels and teacher say together."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.select.rules.base import OnNull, Rule, number


class LikelyRelevant(Rule):
    """Drops candidates for which neighbouring labels and the teacher together speak for relevance: r ≥ ceiling.

    r = label_evidence + teacher_weight · (teacher_logit − s⁺), s⁺ the least logit of the query's positives: a threshold of the query's own.
    A pair that the teacher has not seen counts as ``unscored`` below its positive; without a teacher, the evidence decides alone.

    Source: our own (decision record 7).
    """

    kind: Literal["likely_relevant"] = "likely_relevant"
    ceiling: float = Field(0.8, description="The least r that is rejected; 1: as alike as two halves of one answer.")
    teacher_weight: float = Field(0.05, ge=0, description="What a logit counts beside the evidence of labels.")
    unscored: float = Field(2.0, ge=0, description="How many logits below its positive an unscored pair is taken to be.")
    on_null: OnNull

    def columns(self) -> list[str]:
        """The evidence."""
        return ["label_evidence"]

    def relevance(self) -> str:
        """SQL of r."""
        unknown = f"CASE WHEN positive_teacher_logit_min IS NULL THEN 0 ELSE {number(-self.unscored)} END"
        behind = f"coalesce(teacher_logit - positive_teacher_logit_min, {unknown})"
        return f"(label_evidence + {number(self.teacher_weight)} * {behind})"

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        return f"{self.relevance()} >= {number(self.ceiling)}"
