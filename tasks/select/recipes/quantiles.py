"""Thresholds from the query's own scores."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.select.draws import Draw, Top
from tasks.select.published import Published, needed
from tasks.select.recipe import Facts, Recipe
from tasks.select.rules.base import ScoreColumn
from tasks.select.rules.lists import Quantile


class QueryQuantiles(Published):
    """The best candidates between two quantiles of the query's own scores.

    A threshold for each query: 0.9 drops the tenth of its candidates that scores highest, whatever the scores are.
    Quantiles are over the unlabelled candidates down to ``depth``.
    """

    paper = "common practice"
    certainty = "own"
    sweep = ("high", (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0))
    name: Literal["query-quantiles"] = "query-quantiles"
    low: float = Field(0.0, ge=0, le=1)
    high: float = Field(0.9, ge=0, le=1)
    score: ScoreColumn = "dense_score"
    depth: int = Field(100, ge=1)

    def compose(self, facts: Facts) -> Recipe:
        """See :meth:`Published.compose`."""
        needs = needed(self.depth, self.score)
        source = next(iter(needs.sources))
        between = Quantile(score=self.score, source=source, depth=self.depth, low=self.low, high=self.high, on_null="reject")
        return Recipe(
            name=self.name,
            needs=needs,
            rules=(*self.ranked(self.depth, source), between),
            draws=(Draw(order=Top(by=self.score)),),
            rank_by=self.score,
            num_negatives=facts.num_negatives,
        )
