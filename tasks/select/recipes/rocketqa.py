"""RocketQA's denoised negatives, and PAIR's pseudo-labels."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.select.draws import Draw, Random, Top
from tasks.select.published import Published
from tasks.select.recipe import Facts, Needs, PseudoPositives, Recipe
from tasks.select.rules.ranks import RankRange
from tasks.select.rules.scores import TeacherCeiling

_CEILINGS = (0.001, 0.01, 0.05, 0.1, 0.2, 0.4, 0.7, 0.95)


class RocketQA(Published):
    """Walk the ranking, keep what the cross-encoder is sure is not relevant, backfill at random further down.

    Candidates of ``depth`` ranks of every source (the paper has one dense source) are kept by rank while the teacher's
    probability is under ``ceiling``; if they do not suffice, documents that the retriever ranks below ``depth`` are drawn at random,
    which the teacher need not have seen. The authors take four negatives a positive (``num_negatives: 4``).
    """

    paper = "Qu et al. 2021, RocketQA (arXiv:2010.08191)"
    certainty = "code"
    sweep = ("ceiling", _CEILINGS)
    name: Literal["rocketqa"] = "rocketqa"
    depth: int = Field(50, ge=1, description="Ranks that are walked and scored.")
    ceiling: float = Field(0.1, gt=0, le=1, description="A teacher's probability from which a document is refused.")
    backfill_depth: int = Field(100, ge=1, description="Ranks from which the backfill is drawn.")
    pseudo_positives: bool = Field(False, description="The best unlabelled candidate over `pseudo_above` becomes a positive.")
    pseudo_above: float = Field(0.9, gt=0, lt=1)

    def compose(self, facts: Facts) -> Recipe:
        """See :meth:`Published.compose`."""
        deepest = max(self.depth, self.backfill_depth)
        return Recipe(
            name=self.name,
            needs=Needs(sources={"dense": deepest}, teacher_depth=self.depth),
            rules=(
                *self.copies(),
                RankRange(source="dense", range_max=deepest, on_null="keep"),
                TeacherCeiling(ceiling=self.ceiling, on_null="reject"),
            ),
            draws=(
                Draw(name="walk", order=Top(by="dense_score")),
                Draw(name="backfill", order=Random(), pool=f"dense_rank > {self.depth}", waive=("unscored",)),
            ),
            num_negatives=facts.num_negatives,
            pseudo_positives=PseudoPositives(above=self.pseudo_above) if self.pseudo_positives else None,
        )


class PAIR(Published):
    """Teacher-labelled pairs: under 0.1 negatives, by rank; over 0.9 the best becomes a positive, for unlabelled queries too.

    RocketQA's thresholds over the candidates of ``depth`` dense ranks, without a backfill: rows may be short. Queries without a labelled
    positive get rows from their pseudo-positive; labelled ones gain further rows. The loss over passages is the trainer's.
    """

    paper = "Ren et al. 2021, PAIR (arXiv:2108.06027)"
    certainty = "code, in part"
    sweep = ("ceiling", _CEILINGS)
    name: Literal["pair"] = "pair"
    depth: int = Field(50, ge=1, description="Ranks that are scored and drawn from.")
    ceiling: float = Field(0.1, gt=0, le=1, description="A teacher's probability from which a document is no negative.")
    pseudo_above: float = Field(0.9, gt=0, lt=1, description="A teacher's probability over which it is a positive.")
    pseudo_take: int = Field(1, ge=1, description="Pseudo-positives a query, at most.")

    def compose(self, facts: Facts) -> Recipe:
        """See :meth:`Published.compose`."""
        return Recipe(
            name=self.name,
            needs=Needs(sources={"dense": self.depth}, teacher_depth=self.depth),
            rules=(*self.ranked(self.depth), TeacherCeiling(ceiling=self.ceiling, on_null="reject")),
            draws=(Draw(name="walk", order=Top(by="dense_score")),),
            num_negatives=facts.num_negatives,
            pseudo_positives=PseudoPositives(above=self.pseudo_above, take=self.pseudo_take),
        )
