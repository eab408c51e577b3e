"""What is measured, and on whom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from tasks.settings import Settings

MEASURES = ("nDCG@10", "MRR@10", "Recall@100")


class EvaluateSettings(Settings):
    """An evaluation by exact search over all documents."""

    split: str = Field("dev", min_length=1, description="Queries of this split are measured on; never train.")
    measures: tuple[str, ...] = Field(MEASURES, min_length=1, description="Names that ir-measures knows.")
    depth: int = Field(100, ge=1, le=10_000, description="Documents that are ranked for a query; no measure looks deeper.")
    exclude_self: Literal["none", "id", "text"] = Field(
        "none",
        description="Leave out, for each query, the document of the same id, or those of the same text: for queries that are documents.",
    )
    resamples: int = Field(1000, ge=10, le=100_000, description="Of the bootstrap over queries.")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Of the two-sided intervals.")
    seed: int = Field(0, ge=0, description="Of the bootstrap.")
    reread_test: bool = Field(
        False,
        description="Measure on split test although it was read before, by another model or by comparing recipes; that is counted.",
    )

    def keyed(self) -> dict[str, Any]:
        """What decides the figures, as JSON values."""
        return self.model_dump(mode="json", exclude={"reread_test"})

    @classmethod
    def of(cls, keyed: Mapping[str, Any]) -> EvaluateSettings:
        """The settings among a job's."""
        return cls.model_validate({name: value for name, value in keyed.items() if name in cls.model_fields})

    @field_validator("split")
    @classmethod
    def _not_trained_on(cls, split: str) -> str:
        if split.lower() == "train":
            raise ValueError("queries of split train are trained on; measure on dev, or once on test")
        return split

    @field_validator("measures")
    @classmethod
    def _different(cls, measures: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(measures)) < len(measures):
            raise ValueError("a measure is named twice")
        return measures
