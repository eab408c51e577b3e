"""Static negatives: BM25's best, and no mined negatives at all."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.select.draws import Draw, Top
from tasks.select.published import Published, needed
from tasks.select.recipe import Facts, Recipe


class BM25Static(Published):
    """BM25's highest-ranked unlabelled documents, the same in every round.

    The negatives of the early dense retrievers and a common first stage: lexically close, and independent of the model that is trained.
    """

    paper = "Karpukhin et al. 2020, DPR (arXiv:2004.04906), 'BM25 negatives'; common practice"
    certainty = "paper"
    name: Literal["bm25-static"] = "bm25-static"
    depth: int = Field(100, ge=1, description="BM25 ranks to draw from.")

    def compose(self, facts: Facts) -> Recipe:
        """See :meth:`Published.compose`."""
        return Recipe(
            name=self.name,
            needs=needed(self.depth, "bm25_score"),
            rules=self.ranked(self.depth, "bm25"),
            draws=(Draw(order=Top(by="bm25_score")),),
            rank_by="bm25_score",
            num_negatives=facts.num_negatives,
        )


class InBatch(Published):
    """No mined negatives: rows hold the query and its positive, the batch's other positives are the negatives.

    Another query's positive that is relevant to this one must be masked (RepBERT): the labels for that travel with the shards, in the
    sidecar's positive_ids. ``num_negatives`` has no effect.
    """

    paper = "Henderson et al. 2017 (arXiv:1705.00652); mask: Zhan et al. 2020, RepBERT (arXiv:2006.15498)"
    certainty = "code"
    name: Literal["in-batch"] = "in-batch"

    def compose(self, facts: Facts) -> Recipe:
        """See :meth:`Published.compose`."""
        return Recipe(name=self.name, needs=needed(1), draws=(), num_negatives=0)
