"""TriSampler: negatives that form a quasi-triangle with the query and the positive."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.select.draws import Draw, Random, Weighted
from tasks.select.published import Published, needed
from tasks.select.recipe import Facts, Recipe
from tasks.select.rules.angles import Angle
from tasks.select.rules.registry import AnyRule

Step = Literal["boundary", "pool", "draw"]


class TriSampler(Published):
    """Candidates at about the positive's angle to the query, drawn where they are nearer to the positive than to the query.

    Three steps. ``boundary``: |∠(q, d⁺) − ∠(q, d)| under 60°, scores being cosines. ``pool``: a weight exp(−(s − s⁺)²/4).
    ``draw``: a weight ReLU(s(d⁺, d) − s(q, d)); a candidate that is nearer to the query than to the positive is never drawn.
    How the steps combine is not established: here the boundary is a rule and the weights multiply; ``steps`` says which are used. s⁺ is the
    least of the query's positives, s(d⁺, d) the largest under the retriever (feature ``positive-score``).
    """

    paper = "Yang et al. 2024, TriSampler (arXiv:2402.11855)"
    certainty = "third party"
    sweep = ("boundary", (2.0, 4.0, 6.0, 8.0, 12.0, 20.0, 40.0, 60.0))
    name: Literal["trisampler"] = "trisampler"
    steps: tuple[Step, ...] = Field(("boundary", "pool", "draw"), description="Which of the steps are used.")
    boundary: float = Field(60.0, gt=0, le=180, description="Degrees.")
    width: float = Field(4.0, gt=0, description="The 4 of exp(−(s − s⁺)²/4).")
    depth: int = Field(200, ge=1)

    def compose(self, facts: Facts) -> Recipe:
        """See :meth:`Published.compose`."""
        rules: list[AnyRule] = [*self.ranked(self.depth)]
        if "boundary" in self.steps:
            rules.append(Angle(boundary=self.boundary, on_null="reject"))
        weights = []
        if "pool" in self.steps:
            weights.append(f"-pow(dense_score - positive_dense_score_min, 2) / {self.width!r}")
        if "draw" in self.steps:
            nearer = "positive_document_score::DOUBLE - dense_score::DOUBLE"
            weights.append(f"CASE WHEN {nearer} > 0 THEN ln({nearer}) END")
        order = Weighted(log_weight=" + ".join(f"({weight})" for weight in weights)) if weights else Random()
        return Recipe(
            name=self.name,
            needs=needed(self.depth),
            rules=tuple(rules),
            draws=(Draw(order=order),),
            num_negatives=facts.num_negatives,
        )
