"""DPR's hard negatives."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.select.draws import Draw, Top
from tasks.select.published import Published, needed
from tasks.select.recipe import Facts, Recipe
from tasks.select.rules.base import OnNull
from tasks.select.rules.texts import AnswerMatch


class DPR(Published):
    """BM25's highest-ranked passages that contain no answer to the question.

    Passages are compared with the query's ``answers`` by contiguous tokens of NFD-normalised, uncased text (feature ``answers``); the
    first that contain none are taken, by rank. The authors train with one (``num_negatives: 1``). A query without answers keeps its
    passages unless ``unanswered: reject``. Read in the authors' code: the comparison with answers and the order; not the retrieval.
    """

    paper = "Karpukhin et al. 2020, DPR (arXiv:2004.04906)"
    certainty = "code, in part"
    name: Literal["dpr"] = "dpr"
    depth: int = Field(100, ge=1, description="BM25 ranks to draw from.")
    match: Literal["string", "regex"] = Field("string", description="How answers are found; regex: they are regular expressions.")
    unanswered: OnNull = Field("keep", description="Candidates of queries that have no answers.")

    def compose(self, facts: Facts) -> Recipe:
        """See :meth:`Published.compose`."""
        return Recipe(
            name=self.name,
            needs=needed(self.depth, "bm25_score", answers={"method": "regex"} if self.match == "regex" else {}),
            rules=(*self.ranked(self.depth, "bm25"), AnswerMatch(on_null=self.unanswered)),
            draws=(Draw(order=Top(by="bm25_score")),),
            rank_by="bm25_score",
            num_negatives=facts.num_negatives,
        )
