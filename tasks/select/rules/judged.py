"""The rule over what a judge said."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.select.rules.base import OnNull, Rule, number


class JudgedRelevant(Rule):
    """Drops candidates that a judge calls relevant (RLHN); `hardmine judge` adds it. NULL: not judged."""

    kind: Literal["judged_relevant"] = "judged_relevant"
    threshold: float = Field(0.5, ge=0, le=1, description="The least relevance that is rejected.")
    drop_pair: bool = Field(False, description="A query with such a candidate gets no training row at all.")
    on_null: OnNull

    def columns(self) -> list[str]:
        """The judge's relevance."""
        return ["judge_relevance"]

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        return f"judge_relevance >= {number(self.threshold)}"
