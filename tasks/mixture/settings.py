"""How the rows of several datasets become one set of training files."""

from __future__ import annotations

from pydantic import Field

from tasks.settings import Settings

#: formats whose files are rows of their own; the others name texts by id, or are one document
MIXED = ("triplet", "n-tuple", "labeled-pair", "labeled-list", "listwise", "flagembedding", "tevatron", "swift", "llamaindex-rerank")
#: formats of these that Hardmine itself trains on
TRAINED = ("n-tuple", "triplet")


class MixtureSettings(Settings):
    """The set of training files over all datasets: ``mixture`` in run.yaml."""

    name: str = Field("mixture", pattern=r"^[A-Za-z0-9_-]+$", description="Of the set: its newest files are found under it.")
    batch_size: int = Field(32, ge=1, description="Rows of a batch; a batch has rows of one dataset only.")
    temperature: float = Field(
        1.0, gt=0, description="A dataset of n rows has a share of weight · n^(1/temperature): 1 by size, higher ones more evenly."
    )
    rows: int | None = Field(None, ge=1, description="Rows of the set, in whole batches; empty: as many as all datasets have together.")
    max_rows_per_positive: int | None = Field(None, ge=1, description="Rows that one document may be the positive of; empty: any number.")
    seed: int = Field(0, ge=0, description="Of the order of the batches.")
