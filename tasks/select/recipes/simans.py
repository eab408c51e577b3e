"""SimANS: simple ambiguous negatives sampling."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.select.draws import Draw, Weighted
from tasks.select.published import Published
from tasks.select.recipe import Facts, Needs, Recipe
from tasks.select.rules import RankRange


class SimANS(Published):
    """Sample around the positive's score: p ∝ exp(−a·(s − s⁺ − b)²), without replacement.

    ``a`` is in 1/score²: with cosines of a narrow range, scores are divided by ``scale`` first (the query's own spread between
    its best candidate and its worst is a sane unit; here a constant, 1 by default, as published).
    """

    paper = "Zhou et al. 2022, SimANS (arXiv:2210.11773)"
    certainty = "code"
    name: Literal["simans"] = "simans"
    a: float = Field(0.5, ge=0)
    b: float = 0.0
    scale: float = Field(1.0, gt=0, description="Unit of the scores: 0.1 makes a tenth of cosine count as one.")
    depth: int = Field(200, ge=1)

    def compose(self, facts: Facts) -> Recipe:
        """See :meth:`Published.compose`."""
        distance = f"((dense_score - positive_dense_score_min) / {self.scale!r} - {self.b!r})"
        return Recipe(
            name=self.name,
            needs=Needs(sources={"dense": self.depth}),
            rules=(*self.copies(), RankRange(source="dense", range_max=self.depth, on_null="reject")),
            draws=(Draw(order=Weighted(log_weight=f"-{self.a!r} * pow({distance}, 2)")),),
            num_negatives=facts.num_negatives,
        )
