"""Settings of the review loop."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.settings import Settings


class ExportSettings(Settings):
    """How a sample is written for reviewers."""

    format: Literal["csv", "jsonl"] = Field(default="csv", description="csv for spreadsheets, jsonl for tools")
    bom: bool = Field(default=True, description="begin CSV with a byte-order mark, which spreadsheets need to see that it is UTF-8")
    evidence: bool = Field(
        default=False,
        description="show reviewers the scores, ranks, strata and recipes too; who knows what a teacher thinks judges otherwise",
    )
    max_text: int = Field(default=32_000, ge=0, description="characters after which a text is cut (a cell holds 32,767); 0: never")


class PromotionSettings(Settings):
    """When a pseudo-positive becomes a label."""

    min_signals: int = Field(default=2, ge=2, description="independent signals that must agree")
    per_query: int = Field(default=3, ge=1, description="most pairs promoted for one query, best first")
    protected_splits: tuple[str, ...] = Field(
        default=("calibration", "dev", "test", "validation"), description="splits whose queries are never given a promoted label"
    )
