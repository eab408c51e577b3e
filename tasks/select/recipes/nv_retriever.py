"""NV-Retriever's positive-aware thresholds."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.select.draws import Draw, Random
from tasks.select.published import Published
from tasks.select.recipe import Facts, Needs, Recipe
from tasks.select.rules.ranks import RankSkip
from tasks.select.rules.registry import AnyRule
from tasks.select.rules.scores import AbsoluteMargin, MaxScore, RelativeMargin


class NVRetriever(Published):
    """Candidates under a share of the positive's own score (PercPos); also by margin, absolute, or shifted.

    ``perc-pos``: s ≤ 0.95·s⁺; ``margin-pos``: s ≤ s⁺ − 0.05; ``absolute``: s ≤ 0.7; ``shifted``: the first ten ranks are skipped.
    ``sample_from`` above ``num_negatives`` draws at random from so many of the best survivors (the paper: 4 of 10).
    """

    paper = "Moreira et al. 2024, NV-Retriever (arXiv:2407.15831)"
    certainty = "third party"
    sweep = ("percentage", (0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98, 1.0))
    name: Literal["nv-retriever"] = "nv-retriever"
    method: Literal["perc-pos", "margin-pos", "absolute", "shifted"] = "perc-pos"
    percentage: float = Field(0.95, gt=0, le=1)
    margin: float = Field(0.05, ge=0)
    max_score: float = 0.7
    skip: int = Field(10, ge=1)
    sample_from: int | None = Field(None, ge=1, description="Draw at random from so many of the best; none: take the best.")
    depth: int = Field(100, ge=1)

    def compose(self, facts: Facts) -> Recipe:
        """See :meth:`Published.compose`."""
        methods: dict[str, AnyRule] = {
            "perc-pos": RelativeMargin(margin=round(1 - self.percentage, 9), on_null="reject"),
            "margin-pos": AbsoluteMargin(margin=self.margin, on_null="reject"),
            "absolute": MaxScore(value=self.max_score, on_null="reject"),
            "shifted": RankSkip(n=self.skip, on_null="reject"),
        }
        draw = Draw(order=Random(), survivor_max=max(self.sample_from, facts.num_negatives)) if self.sample_from else Draw()
        return Recipe(
            name=self.name,
            needs=Needs(sources={"dense": self.depth}),
            rules=(*self.ranked(self.depth), methods[self.method]),
            draws=(draw,),
            num_negatives=facts.num_negatives,
        )
