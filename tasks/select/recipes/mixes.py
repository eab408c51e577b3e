"""Mixes: shares of sources, shares of bands of hardness."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from tasks.select.draws import Draw, Random, Top
from tasks.select.published import Published
from tasks.select.recipe import Facts, Needs, Recipe
from tasks.select.rules.free import Where


class ImprovedContrast(Published):
    """A mix of negatives from BM25, a coarse dense ranking, the model's own, and other passages of the positive's document.

    The row's negatives are shared out in proportion to the weights (largest remainder, earlier kinds first on a tie), drawn at random
    from each kind: ``own`` dense ranks, ``bm25`` ranks, ``context`` (candidates with a positive's parent document, feature ``context``),
    and ``coarse``: the best candidates under the fixed encoder, which stands for the coarser model and is off by default, since it needs
    ``fixed_encoder`` in the run. What a kind cannot give, any other candidate fills. Candidates are what dense or BM25 ranks within
    ``depth``. The four kinds are in the paper; their shares differ by task, so all weights are settings.
    """

    paper = "Lu et al. 2020, improved negative contrast (arXiv:2010.12523); Lu et al. 2021, multi-stage training (EMNLP)"
    certainty = "paper, in part"
    name: Literal["improved-contrast"] = "improved-contrast"
    own: float = Field(1.0, ge=0, description="Weight of the model's own dense ranking.")
    bm25: float = Field(1.0, ge=0, description="Weight of BM25's ranking.")
    context: float = Field(1.0, ge=0, description="Weight of other passages of a positive's document.")
    coarse: float = Field(0.0, ge=0, description="Weight of the fixed encoder's best.")
    depth: int = Field(100, ge=1, description="Ranks of each source to draw from.")

    def compose(self, facts: Facts) -> Recipe:
        """See :meth:`Published.compose`."""
        weights = {"own": self.own, "bm25": self.bm25, "context": self.context, "coarse": self.coarse}
        shares = shared_out(facts.num_negatives, weights)
        retrieved = f"dense_rank <= {self.depth}" + (f" OR bm25_rank <= {self.depth}" if self.bm25 else "")
        pools = {
            "own": f"dense_rank <= {self.depth}",
            "bm25": f"bm25_rank <= {self.depth}",
            "context": "in_positive_group",
            "coarse": "fixed_score IS NOT NULL",
        }
        draws = [
            Draw(name=kind, order=Top(by="fixed_score") if kind == "coarse" else Random(), pool=pools[kind], take=share)
            for kind, share in shares.items()
            if share
        ]
        sources = {"dense": self.depth} | ({"bm25": self.depth} if self.bm25 else {})
        return Recipe(
            name=self.name,
            needs=Needs(sources=sources),
            rules=(*self.copies(), Where(predicate=retrieved, reason="not_retrieved", on_null="reject")),
            draws=(*draws, Draw(name="backfill", order=Random())),
            num_negatives=facts.num_negatives,
        )


class Quotas(Published):
    """So many negatives from each band of hardness: hard ranks, and medium ones further down.

    Only hard negatives hold the most unlabelled positives; only medium ones teach less. Drawn at random in each band; a band that is
    short is filled from the others.
    """

    paper = "common practice"
    certainty = "own"
    sweep = ("medium_share", (1.0, 0.8, 0.6, 0.4, 0.2, 0.0))
    name: Literal["quotas"] = "quotas"
    medium_share: float = Field(0.4, ge=0, le=1, description="Share of a row's negatives that are medium.")
    skip: int = Field(0, ge=0, description="Ranks that are left out at the top.")
    hard_depth: int = Field(30, ge=1, description="The last hard rank; medium ones follow.")
    depth: int = Field(200, ge=1, description="The last medium rank.")

    def compose(self, facts: Facts) -> Recipe:
        """See :meth:`Published.compose`."""
        if not self.skip < self.hard_depth < self.depth:
            raise ValueError(f"skip={self.skip} < hard_depth={self.hard_depth} < depth={self.depth} must hold")
        shares = shared_out(facts.num_negatives, {"hard": 1 - self.medium_share, "medium": self.medium_share})
        bands = {"hard": (self.skip, self.hard_depth), "medium": (self.hard_depth, self.depth)}
        draws = [
            Draw(name=band, order=Random(), pool=f"dense_rank > {above} AND dense_rank <= {last}", take=shares[band])
            for band, (above, last) in bands.items()
            if shares[band]
        ]
        whole = Draw(name="backfill", order=Random(), pool=f"dense_rank > {self.skip}")
        return Recipe(
            name=self.name,
            needs=Needs(sources={"dense": self.depth}),
            rules=self.ranked(self.depth),
            draws=(*draws, whole),
            num_negatives=facts.num_negatives,
        )


def shared_out(number: int, weights: Mapping[str, float]) -> dict[str, int]:
    """A number shared out in proportion to weights, by largest remainder; on a tie the earlier name gets more.

    Raises:
        ValueError: no weight is over 0.

    >>> shared_out(5, {"own": 1.0, "bm25": 1.0, "context": 1.0})
    {'own': 2, 'bm25': 2, 'context': 1}
    """
    total = sum(weights.values())
    if total <= 0:
        raise ValueError("set a weight over 0 for " + ", ".join(weights))
    exact = {name: number * weight / total for name, weight in weights.items()}
    shares = {name: int(share + 1e-9) for name, share in exact.items()}
    rest = number - sum(shares.values())
    for name in sorted(exact, key=lambda name: -round(exact[name] - shares[name], 9))[:rest]:
        shares[name] += 1
    return shares
