"""Rules over scores: thresholds, bands, and margins to the positive's score."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.select.rules.base import OnNull, Positive, Rule, ScoreColumn, number, positive_column
from tasks.sql import quote_identifier


class ScoreRule(Rule):
    """A rule over one score column."""

    score: ScoreColumn = "dense_score"
    on_null: OnNull

    def columns(self) -> list[str]:
        """The score column."""
        return [self.score]


class MaxScore(ScoreRule):
    """Drops s > value, as sentence-transformers' ``max_score``."""

    kind: Literal["max_score"] = "max_score"
    value: float

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        return f"{quote_identifier(self.score)} > {number(self.value)}"


class MinScore(ScoreRule):
    """Drops s < value, as sentence-transformers' ``min_score``."""

    kind: Literal["min_score"] = "min_score"
    value: float

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        return f"{quote_identifier(self.score)} < {number(self.value)}"


class TeacherCeiling(ScoreRule):
    """Drops candidates that the teacher calls likely relevant: s ≥ ceiling (RocketQA keeps those under 0.1)."""

    kind: Literal["teacher_ceiling"] = "teacher_ceiling"
    score: ScoreColumn = "teacher_sigmoid"
    ceiling: float = Field(description="The least score that is rejected.")

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        return f"{quote_identifier(self.score)} >= {number(self.ceiling)}"


class MiddleBand(ScoreRule):
    """Keeps low < s < high of a teacher's score."""

    kind: Literal["middle_band"] = "middle_band"
    score: ScoreColumn = "teacher_sigmoid"
    low: float
    high: float

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        column = quote_identifier(self.score)
        return f"({column} <= {number(self.low)} OR {column} >= {number(self.high)})"


class MarginRule(ScoreRule):
    """A rule that compares a score with the positive's."""

    margin: float
    positive: Positive = Field("min", description="s⁺: min, mean or max over the query's positives, or the row's own.")

    def columns(self) -> list[str]:
        """The score column and that of s⁺."""
        return [self.score, positive_column(self.score, self.positive)]

    def pair(self) -> tuple[str, str]:
        """SQL of s and s⁺."""
        return quote_identifier(self.score), quote_identifier(positive_column(self.score, self.positive))


class AbsoluteMargin(MarginRule):
    """Drops s + margin > s⁺, as sentence-transformers' ``absolute_margin`` (NV-Retriever's MarginPos)."""

    kind: Literal["absolute_margin"] = "absolute_margin"

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        score, positive = self.pair()
        return f"{score} + {number(self.margin)} > {positive}"


class RelativeMargin(MarginRule):
    """Drops s > s⁺ − |s⁺|·margin, as sentence-transformers' ``relative_margin`` (NV-Retriever's PercPos at 0.05)."""

    kind: Literal["relative_margin"] = "relative_margin"

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        score, positive = self.pair()
        return f"{score} > {positive} - abs({positive}) * {number(self.margin)}"


class Window(MarginRule):
    """Keeps s⁺ − margin < s < s⁺ + margin: the ambiguous window around the positive."""

    kind: Literal["window"] = "window"

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        score, positive = self.pair()
        return f"abs({score} - {positive}) >= {number(self.margin)}"
