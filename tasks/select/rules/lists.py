"""Rules that compare a candidate's score with those of its query's other candidates."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tasks.select.rules.base import OnNull, Rule, ScoreColumn, SourceName
from tasks.sql import quote_identifier


class ListRule(Rule):
    """A rule over the list of a query's unlabelled candidates that have a score; ``depth`` cuts it by a source's rank.

    With a depth, the same candidates are compared in a round that was mined deeper or from more sources.
    """

    score: ScoreColumn = "dense_score"
    source: SourceName = "dense"
    depth: int | None = Field(None, ge=1, description="The list: so many of the source's best ranks; none: all that have the score.")
    on_null: OnNull

    def columns(self) -> list[str]:
        """The score column."""
        return [self.score]

    def over_list(self, aggregate: str) -> str:
        """SQL of an aggregate over the query's list."""
        deep = f" AND {quote_identifier(f'{self.source}_rank')} <= {self.depth}" if self.depth is not None else ""
        return f"({aggregate} FILTER (WHERE NOT is_positive{deep}) OVER (PARTITION BY _group))"


class Quantile(ListRule):
    """Keeps scores from the ``low`` to the ``high`` quantile of the query's own candidates (linear between two of them, ends kept)."""

    kind: Literal["quantile"] = "quantile"
    low: float = Field(0.0, ge=0, le=1)
    high: float = Field(1.0, ge=0, le=1)

    @model_validator(mode="after")
    def _low_is_lower(self) -> Quantile:
        if self.low >= self.high:
            raise ValueError(f"low={self.low} must be under high={self.high}")
        return self

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        score = f"{quote_identifier(self.score)}::DOUBLE"
        return (
            " OR ".join(
                f"{score} {beyond} {self.over_list(f'quantile_cont({score}, {at!r})')}"
                for beyond, at, used in (("<", self.low, self.low > 0), (">", self.high, self.high < 1))
                if used
            )
            or "false"
        )


class BelowMean(ListRule):
    """Keeps candidates whose score is under the list's mean: the passage sieve of CCR.

    Written there as −log p_i > mean_j(−log p_j), p being the softmax of the list's scores; the softmax's denominator and
    any positive temperature cancel out, so s_i < mean_j(s_j) is the same.
    """

    kind: Literal["below_mean"] = "below_mean"

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        score = f"{quote_identifier(self.score)}::DOUBLE"
        return f"{score} >= {self.over_list(f'sum({score} ORDER BY _place)')} / {self.over_list(f'count({score})')}"
