"""CCR's passage sieve."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.select.draws import Draw, Random
from tasks.select.published import Published, needed
from tasks.select.recipe import Facts, Recipe
from tasks.select.rules.base import ScoreColumn
from tasks.select.rules.lists import BelowMean


class CCRSieve(Published):
    """Of the 30 best candidates, those whose score is under the mean of the 30; one at random if none is left.

    −log p_i > mean_j(−log p_j), p being the softmax over the list under a briefly tuned model: the run's own, or a teacher by ``score``.
    The list is the query's unlabelled candidates down to ``depth``. What passes is drawn at random.
    """

    paper = "Wang et al. 2024, contrastive confidence regularisation (AAAI 2024, arXiv:2401.00165)"
    certainty = "code"
    sweep = ("depth", (30, 25, 20, 17, 15, 12, 10, 8))
    name: Literal["ccr-sieve"] = "ccr-sieve"
    depth: int = Field(30, ge=2, description="The list's length.")
    score: ScoreColumn = "dense_score"

    def compose(self, facts: Facts) -> Recipe:
        """See :meth:`Published.compose`."""
        needs = needed(self.depth, self.score)
        source = next(iter(needs.sources))
        sieve = BelowMean(score=self.score, source=source, depth=self.depth, on_null="reject")
        none_left = "max(survivor_rank) OVER (PARTITION BY _group) IS NULL"
        return Recipe(
            name=self.name,
            needs=needs,
            rules=(*self.ranked(self.depth, source), sieve),
            draws=(
                Draw(name="sieve", order=Random()),
                Draw(name="one", order=Random(), take=1, pool=none_left, waive=(sieve.name,)),
            ),
            rank_by=self.score,
            num_negatives=facts.num_negatives,
        )
