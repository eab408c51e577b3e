"""Topics: candidates of the positive's cluster or outside it, and TAS-Balanced's batches."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field

from tasks.select.draws import Binned, Draw, Random
from tasks.select.published import Published, needed
from tasks.select.recipe import Facts, Recipe, RowOrder
from tasks.select.rules.free import Where
from tasks.select.rules.groups import OtherCluster

_DEPTHS = (200, 150, 100, 70, 50, 30, 20, 10)


class DocumentClusters(Published):
    """Settings of recipes over clusters of documents."""

    clusters: int | None = Field(None, ge=2, description="k of the documents' k-means; by default the root of their number.")
    depth: int = Field(200, ge=1, description="Ranks to draw from.")

    def settings(self, facts: Facts) -> dict[str, Any]:
        """Settings of the feature ``clusters``."""
        default = max(2, math.isqrt(facts.documents)) if facts.documents else None
        wanted = self.clusters or default
        return {"documents": wanted} if wanted else {}


class OtherClusters(DocumentClusters):
    """The best candidates outside the positives' k-means clusters: what lies in them is likely relevant.

    Easier negatives the fewer the clusters: 10 clusters of 10,000 documents put a thousand documents out of reach of each query.
    """

    paper = "common practice"
    certainty = "own"
    name: Literal["other-clusters"] = "other-clusters"

    def compose(self, facts: Facts) -> Recipe:
        """See :meth:`Published.compose`."""
        return Recipe(
            name=self.name,
            needs=needed(self.depth, clusters=self.settings(facts)),
            rules=(*self.ranked(self.depth), OtherCluster(on_null="reject")),
            num_negatives=facts.num_negatives,
        )


class Topic(DocumentClusters):
    """Random candidates of the query's topic: documents in the k-means clusters of its positives.

    TAS names topics by clusters of queries; documents have none there, since its negatives are other queries' positives in the batch.
    Here a document's topic is its own cluster and a query's topics are those of its positives. Topic-aware batches are ``tas-balanced``.
    """

    paper = "after Hofstätter et al. 2021, TAS (arXiv:2104.06967)"
    certainty = "own"
    sweep = ("depth", _DEPTHS)
    name: Literal["topic"] = "topic"

    def compose(self, facts: Facts) -> Recipe:
        """See :meth:`Published.compose`."""
        same = Where(predicate="in_positive_cluster", reason="other_topic", on_null="reject")
        return Recipe(
            name=self.name,
            needs=needed(self.depth, clusters=self.settings(facts)),
            rules=(*self.ranked(self.depth), same),
            draws=(Draw(order=Random()),),
            num_negatives=facts.num_negatives,
        )


class TASBalanced(Published):
    """Negatives balanced over the teacher's margin, in batches of queries of one topic.

    For each query the teacher's margins s⁺ − s are cut into 10 bins of equal width between their least and largest; a non-empty bin is
    drawn uniformly, then a pair of it. s⁺ being one number a query, bins of the margin are bins of the candidate's logit. A range of
    zero is one bin. Rows are written in batches of queries from one of k clusters (2000 in the paper, for 400,000 queries), query partition
    by query partition; by default k is at most 2000 and leaves a cluster eight batches' worth of queries, so that each partition has
    whole batches of it. A trainer must keep the files' order.
    """

    paper = "Hofstätter et al. 2021, TAS-Balanced (arXiv:2104.06967)"
    certainty = "code"
    sweep = ("depth", _DEPTHS)
    name: Literal["tas-balanced"] = "tas-balanced"
    clusters: int | None = Field(None, ge=1, description="k of the queries' k-means.")
    batch_size: int = Field(32, ge=1, description="Rows of a batch.")
    bins: int = Field(10, ge=1, le=1000)
    depth: int = Field(200, ge=1, description="Ranks that are scored and drawn from.")

    def compose(self, facts: Facts) -> Recipe:
        """See :meth:`Published.compose`."""
        default = min(2000, max(1, facts.queries // (8 * self.batch_size))) if facts.queries else None
        wanted = self.clusters or default
        return Recipe(
            name=self.name,
            needs=needed(self.depth, "teacher_logit", clusters={"queries": wanted} if wanted else {}),
            rules=self.ranked(self.depth),
            draws=(Draw(order=Binned(score="teacher_logit", bins=self.bins)),),
            rank_by="teacher_logit",
            num_negatives=facts.num_negatives,
            row_order=RowOrder(kind="clustered", batch_size=self.batch_size),
        )
