"""RANCE: ranks weighted by how rarely they hold a relevant document."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.select.draws import Draw, Weighted
from tasks.select.published import Published, needed
from tasks.select.recipe import Facts, Recipe


class RANCE(Published):
    """Draw by rank, each rank weighted by how rarely judged queries have a relevant document there.

    g[r] = (1 − hits[r]/Q) / ln(r + 2), smoothed by a moving average of 9, fitted by a polynomial of degree 4, minus its least value,
    clamped at 0 (feature ``rank-weights``). Ranks of weight 0 are never drawn.
    """

    paper = "Prakash et al. 2021, RANCE: Learning robust dense retrieval models from incomplete relevance labels (SIGIR 2021)"
    certainty = "code"
    name: Literal["rance"] = "rance"
    depth: int = Field(200, ge=1, description="Ranks to draw from.")

    def compose(self, facts: Facts) -> Recipe:
        """See :meth:`Published.compose`."""
        weight = "CASE WHEN rance_weight > 0 THEN ln(rance_weight::DOUBLE) END"
        return Recipe(
            name=self.name,
            needs=needed(self.depth),
            rules=self.ranked(self.depth),
            draws=(Draw(order=Weighted(log_weight=weight)),),
            num_negatives=facts.num_negatives,
        )
