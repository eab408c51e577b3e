"""Rules over angles between vectors, for scores that are cosines."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.select.rules.base import OnNull, Positive, Rule, ScoreColumn, positive_column
from tasks.sql import quote_identifier


class Angle(Rule):
    """Keeps candidates whose angle to the query differs from the positive's by less than a boundary: TriSampler's quasi-triangle.

    |acos(s⁺) − acos(s)| in degrees; scores are cosines and are clamped to −1 … 1.
    """

    kind: Literal["angle"] = "angle"
    score: ScoreColumn = "dense_score"
    boundary: float = Field(gt=0, le=180, description="Degrees.")
    positive: Positive = Field("min", description="s⁺: min, mean or max over the query's positives, or the row's own.")
    on_null: OnNull

    def columns(self) -> list[str]:
        """The score column and that of s⁺."""
        return [self.score, positive_column(self.score, self.positive)]

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        angles = [f"degrees(acos(greatest(-1, least(1, {quote_identifier(column)}::DOUBLE))))" for column in self.columns()]
        return f"abs({angles[1]} - {angles[0]}) >= {self.boundary!r}"
