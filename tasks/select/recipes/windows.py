"""Negatives near the positive's score, or in the middle of a teacher's."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.select.draws import Draw, Random, Top
from tasks.select.published import Published, needed
from tasks.select.recipe import Facts, Recipe
from tasks.select.rules.base import Positive, ScoreColumn
from tasks.select.rules.scores import MiddleBand, Window


class AmbiguousWindow(Published):
    """Candidates whose score lies within a margin of the positive's: s⁺ − m < s < s⁺ + m.

    Drawn at random, since the best of the window are those over the positive; ``order: top`` takes them first.
    """

    paper = "common practice, after SimANS (arXiv:2210.11773)"
    certainty = "own"
    sweep = ("margin", (0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.2, 0.3))
    name: Literal["ambiguous-window"] = "ambiguous-window"
    margin: float = Field(0.1, gt=0)
    score: ScoreColumn = "dense_score"
    positive: Positive = Field("min", description="s⁺: min, mean or max over the query's positives, or the row's own.")
    order: Literal["random", "top"] = "random"
    depth: int = Field(100, ge=1)

    def compose(self, facts: Facts) -> Recipe:
        """See :meth:`Published.compose`."""
        needs = needed(self.depth, self.score)
        window = Window(score=self.score, margin=self.margin, positive=self.positive, on_null="reject")
        return Recipe(
            name=self.name,
            needs=needs,
            rules=(*self.ranked(self.depth, next(iter(needs.sources))), window),
            draws=(Draw(order=Top(by=self.score) if self.order == "top" else Random()),),
            rank_by=self.score,
            num_negatives=facts.num_negatives,
        )


class Band(Published):
    """Candidates that the teacher is unsure of: low < teacher < high, the retriever's best first.

    Under ``low`` a document teaches little, from ``high`` on it is likely relevant. The ceiling of 0.5 is common; the floor is ours.
    """

    paper = "common practice"
    certainty = "own"
    sweep = ("high", (0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 0.95))
    name: Literal["middle-band"] = "middle-band"
    low: float = 0.1
    high: float = 0.5
    score: str = Field("teacher_sigmoid", pattern=r"^teacher_[a-z]+$", description="The teacher's score column.")
    depth: int = Field(100, ge=1, description="Ranks that are scored and drawn from.")

    def compose(self, facts: Facts) -> Recipe:
        """See :meth:`Published.compose`."""
        if self.low >= self.high:
            raise ValueError(f"low={self.low} must be under high={self.high}")
        return Recipe(
            name=self.name,
            needs=needed(self.depth, self.score),
            rules=(*self.ranked(self.depth), MiddleBand(score=self.score, low=self.low, high=self.high, on_null="reject")),
            draws=(Draw(order=Top()),),
            num_negatives=facts.num_negatives,
        )
