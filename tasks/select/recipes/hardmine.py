"""Our own recipe, and the default."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.select.draws import Draw, Least, Random, Top
from tasks.select.limits import Limits
from tasks.select.published import Published
from tasks.select.recipe import Facts, Needs, Recipe
from tasks.select.rules.evidence import LikelyRelevant


class Hardmine(Published):
    """The hardest candidates that neither neighbouring labels nor the teacher call relevant; every query is served.

    Candidates of two sources, without copies, one from each cluster of near copies. Refused is what
    ``label_evidence + teacher_weight · (teacher_logit − the positive's)`` puts at ``ceiling`` or over (rule likely_relevant): the evidence
    compares the queries that people brought to a document with those brought to the positive; it needs no teacher, and uses one where
    there is one. Most negatives are the hardest that are left; a share of ``medium`` comes at random from the next ones; where too few are
    left, those that are least likely to be relevant fill up (draw ``backfill``). Negatives near the ceiling weigh less in training.

    Its settings were tuned on half of banking77-thin's intents and are reported on the other half (decision record 7).
    """

    paper = "Hardmine, decision record 7"
    certainty = "own"
    sweep = ("ceiling", (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 1.0))
    name: Literal["hardmine"] = "hardmine"
    ceiling: float = Field(0.8, description="From which relevance a candidate is refused; lower is safer, higher is harder.")
    teacher_weight: float = Field(0.05, ge=0, description="What a teacher's logit counts beside the evidence of labels.")
    unscored: float = Field(2.0, ge=0, description="Logits below its positive that an unscored pair is taken to be.")
    medium: float = Field(0.2, ge=0, le=1, description="Share of the negatives that come at random from behind the hardest.")
    least_weight: float = Field(0.5, gt=0, le=1, description="Training weight of a negative at the ceiling; from 0.3 below it: 1.")
    depth: int = Field(100, ge=1, description="Ranks of the dense source.")
    bm25_depth: int = Field(50, ge=1, description="Ranks of the lexical source.")
    limits: Limits = Field(Limits(per_duplicate_cluster=1), description="Constraints on what is drawn.")

    def compose(self, facts: Facts) -> Recipe:
        """See :meth:`Published.compose`."""
        likely = LikelyRelevant(ceiling=self.ceiling, teacher_weight=self.teacher_weight, unscored=self.unscored, on_null="keep")
        wanted = facts.num_negatives
        medium = int(self.medium * wanted + 0.5)
        doubt = f"greatest(0.0, least(1.0, ({likely.relevance()} - {self.ceiling - 0.3!r}) / 0.3))"
        weight = f"1.0 - {1 - self.least_weight!r} * {doubt}"
        draws = [Draw(name="hard", order=Top(), take=wanted - medium, weight_by=weight)] if wanted > medium else []
        if medium:
            last = max(3 * wanted, wanted + medium)
            draws.append(
                Draw(name="medium", order=Random(), take=medium, survivor_min=wanted - medium, survivor_max=last, weight_by=weight)
            )
        draws.append(Draw(name="fill", order=Top(), weight_by=weight))
        draws.append(Draw(name="backfill", order=Least(by=likely.relevance()), waive=(likely.name,), weight=self.least_weight))
        return Recipe(
            name=self.name,
            needs=Needs(sources={"dense": self.depth, "bm25": self.bm25_depth}),
            rules=(*self.copies(), likely),
            draws=tuple(draws),
            num_negatives=wanted,
        )
