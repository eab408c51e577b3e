"""FlagEmbedding's ``hn_mine``: random negatives from a range of ranks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.select.draws import Draw, Random
from tasks.select.published import Published
from tasks.select.recipe import Facts, Needs, Recipe
from tasks.select.rules.copies import Duplicate
from tasks.select.rules.ranks import RankRange
from tasks.select.rules.registry import AnyRule


class BGE(Published):
    """Random negatives from ranks 10 to 210; documents retrieved at random fill what is missing.

    The range is the slice ``[10:210]`` of the ranking. The authors take 15 negatives (``num_negatives: 15``).
    """

    paper = "FlagEmbedding, scripts/hn_mine.py"
    certainty = "code"
    sweep = ("range_min", (150, 100, 60, 40, 20, 10, 5, 0))
    name: Literal["bge"] = "bge"
    range_min: int = Field(10, ge=0)
    range_max: int = Field(210, ge=1)

    def compose(self, facts: Facts) -> Recipe:
        """See :meth:`Published.compose`."""
        if self.range_min >= self.range_max:
            raise ValueError(f"range_min={self.range_min} must be under range_max={self.range_max}")
        exact: tuple[AnyRule, ...] = (Duplicate(match="exact"),) if not self.duplicates else ()
        out_of_range = RankRange(source="dense", range_min=self.range_min, range_max=self.range_max, on_null="reject")
        return Recipe(
            name=self.name,
            needs=Needs(sources={"dense": self.range_max, "random": facts.num_negatives}),
            rules=(*self.copies(), *exact, out_of_range),
            draws=(
                Draw(name="range", order=Random()),
                Draw(
                    name="backfill", order=Random(), pool="random_rank IS NOT NULL AND dense_rank IS NULL", waive=("not_retrieved_dense",)
                ),
            ),
            num_negatives=facts.num_negatives,
        )
