"""What staleness is measured by."""

from __future__ import annotations

from pydantic import Field

from tasks.settings import Settings

SCALE = 20.0  # of sentence-transformers' MultipleNegativesRankingLoss: a temperature of 0.05
LEGACY_SIMILARITY = 0.3


class StalenessSettings(Settings):
    """How earlier rounds' negatives are looked at under a later checkpoint. No model runs."""

    rounds: int = Field(
        8, ge=1, le=1000, description="The most recent earlier rounds that are looked at; the first one always is, besides these."
    )
    scale: float | None = Field(
        None,
        gt=0,
        description="Multiplies similarities before the softmax (1 / temperature); empty: as the checkpoint's card says, else 20.",
    )
    margin: float = Field(0.1, ge=0, description="A negative is easy if its similarity is below the positive's by more than this.")
    overlap_k: int = Field(100, ge=1, le=1000, description="First candidates of both rounds that are compared.")
    rbo_p: float = Field(
        0.9, gt=0, lt=1, description="Persistence of rank-biased overlap; at 0.9 the first ten ranks hold 86 % of the weight."
    )
    rank_queries: int | None = Field(
        10_000,
        ge=1,
        description="Queries, by hash, whose negatives are ranked among all documents; empty: all. The other measures take all.",
    )
    seed_overlap: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Overlap of two checkpoints that differ by their training seed only, where you measured it; part of the floor.",
    )
    trained_share: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Share of the groups of queries of split train that are trained on, by hash; the others join the control.",
    )
    share_seed: int = Field(0, ge=0, description="Of that hash.")
    resamples: int = Field(1000, ge=10, le=100_000, description="Of the bootstrap over queries.")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Of the two-sided intervals.")
    seed: int = Field(0, ge=0, description="Of the bootstrap.")
    limit: float = Field(
        0.5, ge=0, le=1, description="Negatives are stale once they lost more than this share of the loss share that they began with."
    )
