"""sentence-transformers' ``mine_hard_negatives`` (6.2), reproduced row for row."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.select.draws import Draw, Random, Top
from tasks.select.published import Published
from tasks.select.recipe import Facts, Needs, Recipe
from tasks.select.rules.ranks import RankRange
from tasks.select.rules.registry import AnyRule
from tasks.select.rules.scores import AbsoluteMargin, MaxScore, MinScore, RelativeMargin


class SentenceTransformers(Published):
    """The miner of sentence-transformers: margins and thresholds, then a slice of the survivors.

    Its parameters and formulas, p being the least score over the query's positives: absolute_margin drops s + m > p;
    relative_margin drops s > p − |p|·m; max_score drops s > max; min_score drops s < min; what is left is cut
    ``[range_min:range_max]``. With ``cross_encoder`` a teacher's score replaces the cosine, if (as there) a margin or
    threshold is given; for a cross-encoder whose own activation is the identity, set ``score: teacher_logit``.
    Copies of positives are kept, as there; ``duplicates: true`` drops them. ``random`` is seeded here, which it is not there.
    """

    paper = "sentence_transformers.util.mine_hard_negatives, 6.2"
    certainty = "code"
    sweep = ("relative_margin", (0.3, 0.25, 0.2, 0.15, 0.1, 0.05, 0.02, 0.0))
    name: Literal["sentence-transformers"] = "sentence-transformers"
    duplicates: bool = False
    range_min: int = Field(0, ge=0)
    range_max: int | None = Field(None, ge=1, description="By default num_negatives (ten times it with a margin or max_score) + positives.")
    max_positives: int | None = Field(
        None, ge=1, description="So much deeper is looked, to leave room for positives; by default the most that a query has."
    )
    max_score: float | None = None
    min_score: float | None = None
    absolute_margin: float | None = None
    relative_margin: float | None = None
    sampling_strategy: Literal["top", "random"] = "top"
    cross_encoder: bool = Field(False, description="Filter by the teacher's score instead of the cosine.")
    score: str = Field("teacher_sigmoid", pattern=r"^teacher_[a-z]+$", description="The teacher's score column, with cross_encoder.")

    def compose(self, facts: Facts) -> Recipe:
        """See :meth:`Published.compose`."""
        range_max = self.range_max or self._default_range_max(facts)
        if self.range_min >= range_max or facts.num_negatives > range_max - self.range_min:
            raise ValueError(
                f"{facts.num_negatives} negatives do not fit between range_min={self.range_min} and range_max={range_max}: "
                "raise range_max or lower range_min"
            )
        score = self.score if self._rescored() else "dense_score"
        depth = range_max + (self.max_positives or facts.max_positives)
        rules: list[AnyRule] = [*self.copies(), RankRange(source="dense", range_max=depth, on_null="reject")]
        if self.absolute_margin is not None:
            rules.append(AbsoluteMargin(score=score, margin=self.absolute_margin, on_null="reject"))
        if self.relative_margin is not None:
            rules.append(RelativeMargin(score=score, margin=self.relative_margin, on_null="reject"))
        if self.max_score is not None:
            rules.append(MaxScore(score=score, value=self.max_score, on_null="reject"))
        if self.min_score is not None:
            rules.append(MinScore(score=score, value=self.min_score, on_null="reject"))
        order = Top(by=score) if self.sampling_strategy == "top" else Random()
        return Recipe(
            name=self.name,
            needs=Needs(sources={"dense": depth}, teacher_depth=depth if self._rescored() else 0),
            rules=tuple(rules),
            draws=(Draw(order=order, survivor_min=self.range_min, survivor_max=range_max),),
            rank_by=score,
            num_negatives=facts.num_negatives,
        )

    def _thresholds(self) -> bool:
        return any(value is not None for value in (self.absolute_margin, self.relative_margin, self.max_score))

    def _rescored(self) -> bool:
        return self.cross_encoder and (self._thresholds() or self.min_score is not None)

    def _default_range_max(self, facts: Facts) -> int:
        many = self._thresholds() or (self.cross_encoder and self.min_score is not None)
        return self.range_min + facts.num_negatives * (10 if many else 1) + facts.max_positives
