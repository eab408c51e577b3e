"""Random negatives from the top of a dense ranking: STAR's static ones, ANCE's from the latest checkpoint."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.select.draws import Draw, Random
from tasks.select.published import Published
from tasks.select.recipe import Facts, Needs, Recipe
from tasks.select.rules.free import Where
from tasks.select.rules.registry import AnyRule

_DEPTHS = (200, 150, 100, 70, 50, 30, 20, 10)  # fewer ranks: harder negatives, more of them unlabelled positives


class ANCE(Published):
    """Random unlabelled documents from the latest checkpoint's top 200.

    The authors draw 20 a query at each refresh, every 10,000 steps, and train on one of them a step. With ``chunk_factor`` above 1 a
    refresh serves only that part of the queries (theirs: 5), by a hash of the query's id; the others' candidates are rejected as
    ``other_chunk``. Give each round the next ``chunk``.
    """

    paper = "Xiong et al. 2021, ANCE (arXiv:2007.00808)"
    certainty = "code"
    sweep = ("depth", _DEPTHS)
    name: Literal["ance"] = "ance"
    depth: int = Field(200, ge=1, description="Ranks to draw from.")
    chunk_factor: int = Field(1, ge=1, description="A refresh serves one query in so many.")
    chunk: int = Field(0, ge=0, description="Which of the chunks this round serves, from 0.")

    def compose(self, facts: Facts) -> Recipe:
        """See :meth:`Published.compose`."""
        if self.chunk >= self.chunk_factor:
            raise ValueError(f"chunk={self.chunk} must be under chunk_factor={self.chunk_factor}: chunks count from 0")
        rules: list[AnyRule] = [*self.ranked(self.depth)]
        if self.chunk_factor > 1:
            served = f"md5_number_lower(query_id) % {self.chunk_factor} = {self.chunk}"
            rules.append(Where(predicate=served, reason="other_chunk", on_null="reject"))
        return Recipe(
            name=self.name,
            needs=Needs(sources={"dense": self.depth}),
            rules=tuple(rules),
            draws=(Draw(order=Random()),),
            num_negatives=facts.num_negatives,
        )


class STAR(Published):
    """Random unlabelled documents from a warm-up model's top 200, with documents from anywhere beside them.

    Static: mined once, with the warm-up checkpoint as the run's model. The authors draw one hard negative a step and take random
    negatives from the batch; here ``random_negatives`` of a row are drawn from the whole corpus (0: leave them to the batch).
    At least one negative of a row is a hard one; where those do not suffice, further random ones fill the row.
    """

    paper = "Zhan et al. 2021, STAR and ADORE (arXiv:2104.08051)"
    certainty = "code"
    sweep = ("depth", _DEPTHS)
    name: Literal["star"] = "star"
    depth: int = Field(200, ge=1, description="Ranks to draw from.")
    random_negatives: int = Field(1, ge=0, description="Negatives of a row that are drawn from the whole corpus.")

    def compose(self, facts: Facts) -> Recipe:
        """See :meth:`Published.compose`."""
        easy = min(self.random_negatives, facts.num_negatives - 1)
        hard = Draw(name="hard", order=Random(), pool=f"dense_rank <= {self.depth}", take=facts.num_negatives - easy)
        anywhere = Draw(name="random", order=Random(), pool="random_rank IS NOT NULL")
        return Recipe(
            name=self.name,
            needs=Needs(sources={"dense": self.depth} | ({"random": facts.num_negatives} if easy else {})),
            rules=self.copies() if easy else self.ranked(self.depth),
            draws=(hard, anywhere) if easy else (hard,),
            num_negatives=facts.num_negatives,
        )
