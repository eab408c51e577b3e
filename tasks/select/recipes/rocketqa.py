"""RocketQA's denoised negatives."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.select.draws import Draw, Random, Top
from tasks.select.published import Published
from tasks.select.recipe import Facts, Needs, PseudoPositives, Recipe
from tasks.select.rules import RankRange, TeacherCeiling


class RocketQA(Published):
    """Walk the ranking, keep what the cross-encoder is sure is not relevant, backfill at random further down.

    Candidates of ``depth`` ranks of every source (the paper has one dense source) are kept by rank while the teacher's
    probability is under ``ceiling``; if they do not suffice, documents that the retriever ranks below ``depth`` are drawn at random,
    which the teacher need not have seen.
    """

    paper = "Qu et al. 2021, RocketQA (arXiv:2010.08191)"
    certainty = "code"
    name: Literal["rocketqa"] = "rocketqa"
    depth: int = Field(50, ge=1, description="Ranks that are walked and scored.")
    ceiling: float = Field(0.1, gt=0, le=1, description="A teacher's probability from which a document is refused.")
    backfill_depth: int = Field(100, ge=1, description="Ranks from which the backfill is drawn.")
    pseudo_positives: bool = Field(False, description="The best unlabelled candidate over `pseudo_above` becomes a positive.")
    pseudo_above: float = Field(0.9, gt=0, lt=1)

    def compose(self, facts: Facts) -> Recipe:
        """See :meth:`Published.compose`."""
        return Recipe(
            name=self.name,
            needs=Needs(sources={"dense": max(self.depth, self.backfill_depth)}, teacher_depth=self.depth),
            rules=(
                *self.copies(),
                RankRange(source="dense", range_max=self.backfill_depth, on_null="keep"),
                TeacherCeiling(ceiling=self.ceiling, on_null="reject"),
            ),
            draws=(
                Draw(name="walk", order=Top(by="dense_score")),
                Draw(name="backfill", order=Random(), pool=f"dense_rank > {self.depth}", waive=("unscored",)),
            ),
            num_negatives=facts.num_negatives,
            pseudo_positives=PseudoPositives(above=self.pseudo_above) if self.pseudo_positives else None,
        )
