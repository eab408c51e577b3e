"""SimANS: simple ambiguous negatives sampling."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.select.draws import Draw, Weighted
from tasks.select.published import Published
from tasks.select.recipe import Facts, Needs, Recipe

_SCORE = "dense_score::DOUBLE"
_POSITIVE = "positive_dense_score_min::DOUBLE"

# The unit in which s − s⁺ is measured: normalising both scores by a query's own statistics leaves only their scale.
# The list is the dense top ``depth``, so that it does not change with what else a round has mined.
_LIST = "FILTER (WHERE dense_rank <= {depth}) OVER (PARTITION BY _group)"
_UNITS = {
    "zscore": f"stddev_pop({_SCORE} ORDER BY _place) {_LIST}",
    "minmax": f"max({_SCORE}) {_LIST} - min({_SCORE}) {_LIST}",
    "positive": f"abs({_POSITIVE})",
}


class SimANS(Published):
    """Sample around the positive's score: p ∝ exp(−a·(s − s⁺ − b)²), without replacement.

    The authors' code has s − s⁺ − b squared; one of their scripts |s − s⁺| with a = 3 instead (``absolute``); they take 15 negatives.
    ``a`` is in 1/score², made for inner products with a spread of several units. With cosines of a narrow range use ``normalise``:
    scores in standard deviations of the query's dense top ``depth`` (``zscore``), in their range (``minmax``), or relative to the
    positive's own (``positive``). A unit of 0 (all candidates score the same) gives all the same weight. ``scale`` is a constant
    unit on top.
    """

    paper = "Zhou et al. 2022, SimANS (arXiv:2210.11773)"
    certainty = "code"
    sweep = ("a", (0.0, 0.5, 5.0, 20.0, 50.0, 100.0, 300.0, 1000.0))
    name: Literal["simans"] = "simans"
    a: float = Field(0.5, ge=0)
    b: float = 0.0
    normalise: Literal["none", "zscore", "minmax", "positive"] = "none"
    absolute: bool = Field(False, description="exp(−a·|s − s⁺ − b|) instead of the square.")
    scale: float = Field(1.0, gt=0, description="Unit of the scores: 0.1 makes a tenth of cosine count as one.")
    depth: int = Field(200, ge=1)

    def compose(self, facts: Facts) -> Recipe:
        """See :meth:`Published.compose`."""
        distance = f"abs({self._difference()} / {self.scale!r} - {self.b!r})"
        return Recipe(
            name=self.name,
            needs=Needs(sources={"dense": self.depth}),
            rules=self.ranked(self.depth),
            draws=(Draw(order=Weighted(log_weight=f"-{self.a!r} * pow({distance}, {1 if self.absolute else 2})")),),
            num_negatives=facts.num_negatives,
        )

    def _difference(self) -> str:
        difference = f"({_SCORE} - {_POSITIVE})"
        if self.normalise == "none":
            return difference
        unit = f"({_UNITS[self.normalise].format(depth=self.depth)})"
        return f"(CASE WHEN {unit} > 0 THEN {difference} / {unit} ELSE 0 * {difference} END)"
